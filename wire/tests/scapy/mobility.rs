//! Mobile IPv6 packets (RFC 6275 s.6.1 to 6.4).

use core::net::{Ipv4Addr, Ipv6Addr};

use hearth_scapy::hex;
use hearth_wire::exthdr::{self, parse_chain};
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh::{
    self, BaOptions, BindingAck, BindingError, BindingUpdate, BuFlags, BuOptions, Ipv4Ack,
    Ipv4AckStatus, Ipv4HomeAddress, Message, MhError, NatDetection, NonceIndices, Repeated, Status,
};
use zerocopy::IntoBytes;

use crate::{COA, HA, HOA, built, scapy};

/// An IPv6 packet with `headers` between the IPv6 header and the message, whose checksum is over
/// `ends`.
fn packet(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    first: u8,
    headers: &[u8],
    message: &Message<'_>,
    ends: (Ipv6Addr, Ipv6Addr),
) -> String {
    let mut out = [0; 512];
    let len = mh::emit(message, ends.0, ends.1, &mut out).unwrap();
    let payload = [headers, &out[..len]].concat();
    let header = Ipv6Header::new(source, destination, first, 64, payload.len()).unwrap();
    hex(&[header.as_bytes(), &payload].concat())
}

fn from_mn(message: &Message<'_>) -> String {
    let headers = exthdr::home_address_header(mh::PROTO, HOA);
    packet((COA, HA), exthdr::DESTINATION_OPTIONS, &headers, message, (HOA, HA))
}

fn from_ha(message: &Message<'_>) -> String {
    let headers = exthdr::routing_header(mh::PROTO, HOA);
    packet((HA, COA), exthdr::ROUTING, &headers, message, (HA, HOA))
}

const ALL_FLAGS: BuFlags = BuFlags {
    acknowledge: true,
    home_registration: true,
    link_local_compat: true,
    key_management: true,
    mobile_router: true,
    force_udp: true,
    overwrite: true,
};

#[test]
fn scapy_reads_what_we_emit() {
    let bare = Message::BindingUpdate(BindingUpdate {
        seq: 1,
        flags: BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() },
        lifetime: 15,
        options: BuOptions::default(),
    });
    let full = Message::BindingUpdate(BindingUpdate {
        seq: 0xfffe,
        flags: ALL_FLAGS,
        lifetime: 900,
        options: BuOptions {
            alternate_coa: Some(COA),
            nonce_indices: Some(NonceIndices { home: 1, care_of: 0xfffe }),
            mn_id: Some((1, b"mn@a.bc")),
            ipv4_hoa: Some(Ipv4HomeAddress {
                prefix_len: 32,
                prefix_request: false,
                address: Ipv4Addr::new(198, 51, 100, 16),
            }),
            ipv4_coa: Some(Ipv4Addr::new(203, 0, 113, 9)),
            ..BuOptions::default()
        },
    });
    let ack = Message::BindingAck(BindingAck {
        status: Status::REINIT_SA_WITH_HAC,
        key_management: false,
        mobile_router: true,
        seq: 7,
        lifetime: 600,
        options: BaOptions {
            refresh_advice: Some(30),
            mn_id: None,
            ipv4_ack: Some(Ipv4Ack {
                status: Ipv4AckStatus::SUCCESS,
                prefix_len: 32,
                address: Ipv4Addr::new(198, 51, 100, 16),
            }),
            nat_detection: Some(NatDetection { force_udp: false, refresh_time: 110 }),
            ..BaOptions::default()
        },
    });
    let error = Message::BindingError(BindingError { status: 2, home_address: HOA });
    let packets = [
        from_mn(&bare),
        from_mn(&full),
        from_ha(&ack),
        from_ha(&error),
        from_ha(&Message::BindingRefreshRequest { bids: Repeated::default() }),
        packet((HOA, HA), mh::PROTO, &[], &bare, (HOA, HA)),
    ];
    let read = scapy("mobility.py", "decode", &(packets.join("\n") + "\n"));
    let expected = [
        "hoa=2001:db8:1::10 BU seq=1 flags=HA f=0 lifetime=15 same-octets",
        "hoa=2001:db8:1::10 BU seq=65534 flags=RKLHA f=1 lifetime=900 \
         alternate-coa=2001:db8:2::77 option-29=8000c6336410 option-32=0000cb007109 nonces=1,65534 \
         mn-id=1:mn@a.bc same-octets",
        "type=2 left=1 to=2001:db8:1::10 BA status=176 flags=R seq=7 lifetime=600 \
         refresh-advice=30 option-30=0080c6336410 option-31=00000000006e same-octets",
        "type=2 left=1 to=2001:db8:1::10 BE status=2 ha=2001:db8:1::10 same-octets",
        "type=2 left=1 to=2001:db8:1::10 BRR same-octets",
        "BU seq=1 flags=HA f=0 lifetime=15 same-octets",
    ];
    assert_eq!(read, expected);
}

/// The message of a packet that Scapy built, read as it would stand in PType 8.
fn read(octets: &[u8]) -> (Option<Ipv6Addr>, Result<Message<'_>, MhError>) {
    let (header, payload) = Ipv6Header::parse(octets).unwrap();
    let chain = parse_chain(header.next_header, payload).unwrap();
    let source = chain.home_address.unwrap_or(header.source());
    let destination = chain.routing_home_address.unwrap_or(header.destination());
    (chain.home_address, mh::parse(chain.mobility_header, source, destination))
}

#[test]
fn we_read_what_scapy_builds() {
    let packets = built("mobility.py");
    let of = |name: &str| {
        let packet = packets.iter().find(|(built, _)| built == name);
        packet.unwrap_or_else(|| panic!("Scapy built no packet named {name}")).1.clone()
    };
    let flags = BuFlags { acknowledge: true, home_registration: true, ..BuFlags::default() };
    let update = |seq, flags, lifetime, options| {
        Ok(Message::BindingUpdate(BindingUpdate { seq, flags, lifetime, options }))
    };
    assert_eq!(read(&of("bare")), (Some(HOA), update(1, flags, 15, BuOptions::default())));
    let options = BuOptions {
        alternate_coa: Some(COA),
        mn_id: Some((1, b"mn@a.bc")),
        ipv4_hoa: Some(Ipv4HomeAddress {
            prefix_len: 32,
            prefix_request: false,
            address: Ipv4Addr::new(198, 51, 100, 16),
        }),
        ..BuOptions::default()
    };
    let full = BuFlags { mobile_router: false, force_udp: false, overwrite: false, ..ALL_FLAGS };
    assert_eq!(read(&of("full")), (Some(HOA), update(0x1234, full, 900, options)));
    let nonces = BuOptions { nonce_indices: Some(NonceIndices::default()), ..BuOptions::default() };
    assert_eq!(read(&of("nonces")), (Some(HOA), update(2, flags, 1, nonces)));
    assert_eq!(read(&of("at-home")), (None, update(3, flags, 0, BuOptions::default())));
    assert_eq!(read(&of("unknown")), (Some(HOA), Err(MhError::UnknownType(99))));
    let ack = of("ack");
    let (None, Ok(Message::BindingAck(ack))) = read(&ack) else {
        panic!("{:?}", read(&ack));
    };
    assert_eq!((ack.status, ack.seq), (Status::ADMINISTRATIVELY_PROHIBITED, 3));
    assert_eq!(ack.options.refresh_advice, Some(7));
}
