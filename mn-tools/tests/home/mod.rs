//! A HAC and a home agent that follow a script, in a network namespace.
//!
//! The home agent grants what it is asked for, counts what it gets, and sends every UDP packet that
//! comes through the tunnel back, source and destination exchanged.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hearth_esp::Transform;
use hearth_wire::frame::{FrameHeader, PType};
use hearth_wire::hac::{AuthMethod, Message, Side, StatusCode, container, message};
use hearth_wire::mh::{
    self, BaOptions, BindingAck, BindingUpdate, Ipv4Ack, Ipv4AckStatus, NatDetection, Status,
};
use hearth_wire::{Scope, SeqNo, Spi, Suite, exthdr};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use tun_rs::{DeviceBuilder, SyncDevice};
use zerocopy::FromBytes;
use zeroize::Zeroizing;

pub(crate) const HA6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x10);
pub(crate) const HA4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub(crate) const HOME6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 7);
pub(crate) const HOME4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
pub(crate) const PSK: [u8; 32] = [0x5a; 32];
pub(crate) const HAC_NAME: &str = "hac.example.net";
pub(crate) const SUITE: Suite = Suite::Aes128CbcSha;

/// A Binding Update as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) spi: u32,
    pub(crate) from: SocketAddr,
    pub(crate) seq: u16,
    pub(crate) lifetime: u16,
    pub(crate) alternate_coa: Option<Ipv6Addr>,
    pub(crate) ipv4_coa: Option<Ipv4Addr>,
}

/// What a test sets and looks at.
#[derive(Default)]
pub(crate) struct Script {
    /// Swallow Binding Updates that come over IPv6.
    pub(crate) deaf_on_ipv6: bool,
    /// Status codes for the next Binding Updates; then they are accepted.
    pub(crate) statuses: VecDeque<Status>,
    /// Ask for a refresh, once.
    pub(crate) ask_refresh: bool,
    /// Issue SAs that are valid so long.
    pub(crate) sa_validity: Duration,
    /// Refuse with this status, once each.
    pub(crate) refusals: VecDeque<StatusCode>,
    /// DNS servers that are handed out.
    pub(crate) dns: Vec<Ipv6Addr>,
    /// Binding Updates so far.
    pub(crate) got: Vec<Got>,
    /// Inner packets sent back so far.
    pub(crate) echoed: usize,
    /// A device that inner packets go into instead.
    forwards: Option<Arc<SyncDevice>>,
    /// Where the last accepted Binding Update came from.
    bound: Option<SocketAddr>,
}

struct Association {
    spi: Spi,
    from_mn: Transform,
    to_mn: Transform,
    next_seq: u32,
}

/// The scripted home.
pub(crate) struct Home {
    pub(crate) script: Arc<Mutex<Script>>,
    associations: Associations,
    sockets: [UdpSocket; 2],
}

type Associations = Arc<Mutex<Vec<Association>>>;

impl Home {
    /// Serves in this namespace; writes the CA's certificate to `ca`.
    pub(crate) fn serve(namespace: &str, ca: &Path) -> Self {
        let script = Script { sa_validity: Duration::from_secs(3600), ..Script::default() };
        let script = Arc::new(Mutex::new(script));
        let associations = Associations::default();
        let (tls, binding) = pki(ca);
        let (hac, udp) = super::inside(namespace, || {
            let hac =
                [TcpListener::bind((HA6, 7873)).unwrap(), TcpListener::bind((HA4, 7873)).unwrap()];
            let udp =
                [UdpSocket::bind((HA6, 7872)).unwrap(), UdpSocket::bind((HA4, 7872)).unwrap()];
            (hac, udp)
        });
        for listener in hac {
            let (script, associations) = (Arc::clone(&script), Arc::clone(&associations));
            let (tls, binding) = (Arc::clone(&tls), binding.clone());
            thread::spawn(move || {
                for tcp in listener.incoming() {
                    let tls = ServerConnection::new(Arc::clone(&tls)).unwrap();
                    let mut tls = StreamOwned::new(tls, tcp.unwrap());
                    session(&mut tls, &binding, &script, &associations);
                }
            });
        }
        let sockets = udp.each_ref().map(|socket| socket.try_clone().unwrap());
        for socket in udp {
            let (script, associations) = (Arc::clone(&script), Arc::clone(&associations));
            thread::spawn(move || agent(&socket, &script, &associations));
        }
        Self { script, associations, sockets }
    }

    /// From now on inner packets are forwarded, by a device in this namespace.
    pub(crate) fn forward(&self, namespace: &str) {
        let make = || DeviceBuilder::new().name("home0").enable(true).build_sync().unwrap();
        let device = Arc::new(super::inside(namespace, make));
        super::ip(&format!("-n {namespace} route add {HOME6}/128 dev home0"));
        self.script.lock().unwrap().forwards = Some(Arc::clone(&device));
        let (script, associations) = (Arc::clone(&self.script), Arc::clone(&self.associations));
        let [six, four] = self.sockets.each_ref().map(|socket| socket.try_clone().unwrap());
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok(len) = device.recv(&mut packet) {
                // The kernel has things of its own to say.
                let is_ours = packet[24..40] == HOME6.octets();
                let Some(to) = script.lock().unwrap().bound.filter(|_| is_ours) else { continue };
                let mut associations = associations.lock().unwrap();
                let sa = associations.last_mut().unwrap();
                let frame = sealed(sa, PType::ProtectedData, &packet[..len], 41);
                let socket = if to.is_ipv6() { &six } else { &four };
                let _ = socket.send_to(&frame, to);
            }
        });
    }

    /// Waits until `condition` holds of the script.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Script) -> bool) {
        super::wait_for(what, || condition(&self.script.lock().unwrap()));
    }
}

fn pki(ca: &Path) -> (Arc<ServerConfig>, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, issuer.pem()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(HAC_NAME.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let binding = hearth_mn::tls::server_end_point(&certificate).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(config), binding)
}

fn session(
    tls: &mut StreamOwned<ServerConnection, std::net::TcpStream>,
    binding: &[u8],
    script: &Mutex<Script>,
    associations: &Associations,
) {
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(len @ 1..) = tls.read(&mut buffer) {
        received.extend_from_slice(&buffer[..len]);
        let Ok(Some((request, _))) = container::decode(&received) else { continue };
        let identifier = request.identifier;
        let message = message::parse(request.content).unwrap().message;
        let refusal = script.lock().unwrap().refusals.pop_front();
        let response = match refusal {
            Some(status) => Message { status: Some(status), ..Message::default() },
            None if identifier == 1 => Message {
                mn_rand: message.mn_rand,
                hac_rand: Some([7; 32]),
                auth_methods: vec![AuthMethod::Psk],
                ..Message::default()
            },
            None => {
                let (validity, dns) = {
                    let script = script.lock().unwrap();
                    (script.sa_validity, script.dns.clone())
                };
                Message { dns_ip6: dns, ..issue(&message, validity, associations) }
            }
        };
        let signed = response.encode_signed(Side::Hac, &PSK, binding);
        tls.write_all(&container::encode(identifier, &signed).unwrap()).unwrap();
        received.clear();
    }
}

fn issue(request: &Message, validity: Duration, associations: &Associations) -> Message {
    let mut associations = associations.lock().unwrap();
    let number = u8::try_from(associations.len() + 1).unwrap();
    let spi = Spi::new(u32::from(number)).unwrap();
    let key = |len: usize, seed: u8| Zeroizing::new(vec![seed ^ (number * 16); len]);
    let (up_i, up_e) = (key(SUITE.ikey_len(), 1), key(SUITE.ekey_len(), 2));
    let (down_i, down_e) = (key(SUITE.ikey_len(), 3), key(SUITE.ekey_len(), 4));
    associations.push(Association {
        spi,
        from_mn: Transform::new(SUITE, &up_i, &up_e).unwrap(),
        to_mn: Transform::new(SUITE, &down_i, &down_e).unwrap(),
        next_seq: 0,
    });
    Message {
        status: Some(StatusCode::Ok),
        mn_rand: request.mn_rand,
        hac_rand: request.hac_rand,
        scope: Some(Scope::SignallingAndData),
        suite: Some(SUITE),
        spi: Some(spi),
        mn_to_ha_ikey: Some(up_i),
        mn_to_ha_ekey: Some(up_e),
        ha_to_mn_ikey: Some(down_i),
        ha_to_mn_ekey: Some(down_e),
        validity_end: Some(hearth_mn::hac_client::unix_now() + validity.as_secs()),
        ha_ip6: Some(HA6),
        ha_ip4: Some(HA4),
        hoa_ip6: Some(HOME6),
        hoa_ip4: Some(HOME4),
        ..Message::default()
    }
}

fn agent(socket: &UdpSocket, script: &Mutex<Script>, associations: &Associations) {
    let mut buffer = [0; 4096];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        let frame = &mut buffer[..len];
        let (header, _) = FrameHeader::read_from_prefix(frame).unwrap();
        let mut associations = associations.lock().unwrap();
        let Some(sa) = associations.iter_mut().find(|sa| sa.spi.get() == header.spi_bits()) else {
            continue;
        };
        let (payload, next_header) = sa.from_mn.open(frame).expect("a frame of the MN's");
        let payload = frame[payload].to_vec();
        let mut script = script.lock().unwrap();
        if header.ptype_bits() == PType::MobilityHeader.bits() {
            on_update(socket, from, sa, next_header, &payload, &mut script);
        } else if let Some(device) = &script.forwards {
            device.send(&payload).unwrap();
        } else if let Some(back) = turned_round(payload) {
            script.echoed += 1;
            let frame = sealed(sa, PType::ProtectedData, &back, next_header);
            let _ = socket.send_to(&frame, from);
        }
    }
}

fn sealed(sa: &mut Association, ptype: PType, payload: &[u8], next_header: u8) -> Vec<u8> {
    let mut frame = vec![0; payload.len() + 128];
    let at = sa.to_mn.payload_offset();
    frame[at..at + payload.len()].copy_from_slice(payload);
    let id = (ptype, sa.spi, SeqNo(sa.next_seq));
    sa.next_seq += 1;
    let len = sa.to_mn.seal(&mut frame, payload.len(), id, next_header, &[0x33; 16]).unwrap();
    frame.truncate(len);
    frame
}

/// A UDP packet the other way; its checksums stay right.
fn turned_round(mut packet: Vec<u8>) -> Option<Vec<u8>> {
    let (addresses, len, ports) = match packet.first()? >> 4 {
        4 if packet.get(9) == Some(&17) => (12, 4, 20),
        6 if packet.get(6) == Some(&17) => (8, 16, 40),
        _ => return None,
    };
    for at in 0..len {
        packet.swap(addresses + at, addresses + len + at);
    }
    packet.swap(ports, ports + 2);
    packet.swap(ports + 1, ports + 3);
    Some(packet)
}

fn on_update(
    socket: &UdpSocket,
    from: SocketAddr,
    sa: &mut Association,
    next_header: u8,
    payload: &[u8],
    script: &mut Script,
) {
    let chain = exthdr::parse_chain(next_header, payload).unwrap();
    assert_eq!(chain.home_address, Some(HOME6));
    let update = match mh::parse(chain.mobility_header, HOME6, HA6) {
        Ok(mh::Message::BindingUpdate(update)) => update,
        // Answered to where it came from.
        Ok(mh::Message::Heartbeat(_)) if script.deaf_on_ipv6 && from.is_ipv6() => return,
        Ok(mh::Message::Heartbeat(asked)) => {
            let answer = mh::Heartbeat { response: true, restart_counter: Some(1), ..asked };
            return reply(socket, from, sa, &mh::Message::Heartbeat(answer));
        }
        other => panic!("no Binding Update: {other:?}"),
    };
    script.got.push(Got {
        spi: sa.spi.get(),
        from,
        seq: update.seq,
        lifetime: update.lifetime,
        alternate_coa: update.options.alternate_coa,
        ipv4_coa: update.options.ipv4_coa,
    });
    if script.deaf_on_ipv6 && from.is_ipv6() {
        return;
    }
    let status = script.statuses.pop_front().unwrap_or(Status::ACCEPTED);
    script.bound = (update.lifetime > 0).then_some(from);
    let ack = mh::Message::BindingAck(acknowledgement(&update, status, from.ip()));
    reply(socket, from, sa, &ack);
    if std::mem::take(&mut script.ask_refresh) {
        reply(
            socket,
            from,
            sa,
            &mh::Message::BindingRefreshRequest { bids: mh::Repeated::default() },
        );
    }
}

fn reply(socket: &UdpSocket, to: SocketAddr, sa: &mut Association, message: &mh::Message<'_>) {
    let mut header = [0; 256];
    let len = mh::emit(message, HA6, HOME6, &mut header).unwrap();
    let payload = [&exthdr::routing_header(mh::PROTO, HOME6)[..], &header[..len]].concat();
    let frame = sealed(sa, PType::MobilityHeader, &payload, exthdr::ROUTING);
    // The way back may not be up yet; the node asks again.
    let _ = socket.send_to(&frame, to);
}

fn acknowledgement(
    update: &BindingUpdate<'_>,
    status: Status,
    from: IpAddr,
) -> BindingAck<'static> {
    let ipv4_ack = update.options.ipv4_hoa.map(|home| Ipv4Ack {
        status: Ipv4AckStatus::SUCCESS,
        prefix_len: 32,
        address: home.address,
    });
    let no_nat = update.options.ipv4_coa.map(IpAddr::from) == Some(from);
    let refresh_time = if no_nat { NatDetection::NO_NAT } else { 110 };
    let nat = NatDetection { force_udp: true, refresh_time };
    BindingAck {
        status,
        key_management: false,
        mobile_router: false,
        seq: update.seq,
        lifetime: update.lifetime,
        options: BaOptions {
            ipv4_ack,
            nat_detection: from.is_ipv4().then_some(nat),
            ..BaOptions::default()
        },
    }
}

/// The end of a time that is long even on a busy machine.
pub(crate) fn patience() -> Instant {
    Instant::now() + Duration::from_secs(20)
}
