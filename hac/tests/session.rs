//! The MHAuth exchange at the level of Content: rows HAC-14 to HAC-38 of the conformance list.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use common::{Broken, Counting, NOW, PSK, binding, mn_id, realm, record, subscriber};
use hearth_hac::cert::ChannelBinding;
use hearth_hac::config::Realm;
use hearth_hac::directory::{Family, IssueError, IssueRequest, Pool};
use hearth_hac::policy::ScopePolicy;
use hearth_hac::session::{Outcome, Reply, Session, Step};
use hearth_wire::hac::{AuthMethod, Message, Side, StatusCode, message};
use hearth_wire::{Scope, Spi, Suite};

const MN_RAND: [u8; 32] = [0x11; 32];
const RETRY_AFTER: u64 = 30;

/// A session and the mobile node at its other end.
struct Peer {
    session: Session,
    binding: ChannelBinding,
    key: Vec<u8>,
    entropy: Counting,
}

impl Peer {
    fn new(realm: Realm) -> Self {
        let binding = binding();
        let session = Session::new(Arc::new(realm), binding.clone(), RETRY_AFTER);
        Self { session, binding, key: PSK.to_vec(), entropy: Counting(1) }
    }

    fn request(&mut self, content: &[u8]) -> Step {
        self.session.request(content, NOW, &mut self.entropy)
    }

    /// Sends Init by the book; gives the hac-rand of the response.
    fn init(&mut self) -> [u8; 32] {
        let reply = responded(self.request(&init(|_| ())));
        assert_eq!(reply.outcome, Outcome::Challenged);
        self.read(&reply).hac_rand.unwrap()
    }

    /// Reads a response, whose `auth` must be right.
    fn read(&self, reply: &Reply) -> Message {
        let parsed = message::parse(&reply.content).unwrap();
        let binding = self.binding.octets();
        assert!(message::verify(&reply.content, &parsed, Side::Hac, &self.key, binding));
        parsed.message
    }

    fn sign(&self, message: &Message) -> Vec<u8> {
        message.encode_signed(Side::Mn, &self.key, self.binding.octets()).to_vec()
    }

    /// Init, then Done as `change` leaves it.
    fn run(&mut self, change: impl FnOnce(&mut Message)) -> Step {
        let mut message = done(self.init());
        change(&mut message);
        let content = self.sign(&message);
        self.request(&content)
    }

    /// Init, Done, and an SA with SPI 7 issued for it.
    fn success(&mut self, change: impl FnOnce(&mut Message)) -> (Reply, Box<IssueRequest>) {
        let request = issue(self.run(change));
        let copy = IssueRequest {
            mn_id: request.mn_id.clone(),
            suite: request.suite,
            scope: request.scope,
            mn_to_ha: again(request.suite, &request.mn_to_ha),
            ha_to_mn: again(request.suite, &request.ha_to_mn),
            validity_end: request.validity_end,
            grant: None,
            account: None,
        };
        (self.session.issued(Ok(record(copy)), NOW), request)
    }
}

fn again(
    suite: Suite,
    keys: &hearth_wire::directory::DirectionKeys,
) -> hearth_wire::directory::DirectionKeys {
    hearth_wire::directory::DirectionKeys::new(
        suite,
        keys.integrity().into(),
        keys.encryption().into(),
    )
    .unwrap()
}

fn init(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message {
        mn_id: Some(mn_id("mn1@example.net")),
        mn_rand: Some(MN_RAND),
        auth_methods: vec![AuthMethod::Psk],
        ..Message::default()
    };
    change(&mut message);
    message.encode_unsigned().to_vec()
}

fn done(hac_rand: [u8; 32]) -> Message {
    Message {
        mn_rand: Some(MN_RAND),
        hac_rand: Some(hac_rand),
        scope: Some(Scope::SignallingAndData),
        suite_list: Some(vec![Suite::Aes128CbcSha256, Suite::Aes128CbcSha]),
        ..Message::default()
    }
}

fn responded(step: Step) -> Reply {
    match step {
        Step::Respond(reply) => reply,
        step => panic!("not answered: {step:?}"),
    }
}

fn issue(step: Step) -> Box<IssueRequest> {
    match step {
        Step::Issue(request) => request,
        step => panic!("not issued: {step:?}"),
    }
}

fn status(step: Step) -> StatusCode {
    let reply = responded(step);
    let sent = message::parse(&reply.content).unwrap().message.status;
    match reply.outcome {
        Outcome::Refused(status) => {
            assert_eq!(sent, Some(status));
            assert!(reply.outcome.ends());
            status
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// Sends this as Request/Init.
fn init_status(content: &[u8]) -> StatusCode {
    status(Peer::new(realm()).request(content))
}

/// Sends a Done that consists of these header lines, rightly signed.
fn done_status(lines: impl FnOnce(&str) -> String) -> StatusCode {
    let mut peer = Peer::new(realm());
    let hac_rand = peer.init();
    let rands = format!("mn-rand:{}\r\nhac-rand:{}\r\n", hex(&MN_RAND), hex(&hac_rand));
    let content = signed_lines(&peer, &lines(&rands));
    match peer.request(&content) {
        Step::Issue(_) => StatusCode::Ok,
        step => status(step),
    }
}

/// Header lines with an `auth` computed over just these octets, so with no help of the encoder.
fn signed_lines(peer: &Peer, lines: &str) -> Vec<u8> {
    let (key, binding) = (&peer.key, peer.binding.octets());
    let auth = hearth_wire::hac::auth::authenticator(Side::Mn, key, lines.as_bytes(), binding);
    format!("{lines}auth:{}\r\n\r\n\r\n", hex(&auth)).into_bytes()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// HAC-19: everything of RFC 6618 s.5.6 and 5.7 is in the final response, `auth` last.
#[test]
fn hac_19_happy_path() {
    let mut peer = Peer::new(realm());
    let (reply, request) = peer.success(|_| ());
    assert_eq!(reply.outcome, Outcome::Issued(Spi::new(7).unwrap()));
    let response = peer.read(&reply);
    assert_eq!(response.status, Some(StatusCode::Ok));
    assert_eq!(response.scope, Some(Scope::SignallingAndData));
    // Our order of preference, not the mobile node's.
    assert_eq!(response.suite, Some(Suite::Aes128CbcSha));
    assert_eq!(response.spi, Spi::new(7).ok());
    assert_eq!(response.mn_to_ha_ikey.as_deref().unwrap(), request.mn_to_ha.integrity());
    assert_eq!(response.ha_to_mn_ikey.as_deref().unwrap(), request.ha_to_mn.integrity());
    assert_eq!(response.mn_to_ha_ekey.as_deref().unwrap(), request.mn_to_ha.encryption());
    assert_eq!(response.ha_to_mn_ekey.as_deref().unwrap(), request.ha_to_mn.encryption());
    assert_eq!(response.validity_end, Some(NOW + 3600));
    assert_eq!(response.mn_rand, Some(MN_RAND));
    assert_eq!(response.ha_ip6, Some("2001:db8:1::1".parse().unwrap()));
    assert_eq!(response.ha_ip4, Some("198.51.100.1".parse().unwrap()));
    assert_eq!(response.port, Some(7872));
    assert_eq!(response.hoa_ip6, Some("2001:db8:100::10".parse().unwrap()));
    assert_eq!(response.hoa_ip4, Some("203.0.113.10".parse().unwrap()));
    let prefix: Ipv6Addr = "2001:db8:100::".parse().unwrap();
    assert_eq!(response.hnp_ip6, Some((prefix, 64)));
    assert_eq!(response.hnp_ip4, Some((Ipv4Addr::new(203, 0, 113, 0), 24)));
    assert_eq!((response.dns_ip6.len(), response.dns_ip4.len()), (1, 2));
    let text = std::str::from_utf8(&reply.content).unwrap();
    let last = text.trim_end().rsplit("\r\n").next().unwrap();
    assert!(last.starts_with("auth:"), "{last}");
    assert!(text.ends_with("\r\n\r\n\r\n"));
}

/// HAC-14: 500 where the store or the random source fails.
#[test]
fn hac_14_own_faults_are_500() {
    let mut peer = Peer::new(realm());
    issue(peer.run(|_| ()));
    let reply = peer.session.issued(Err(IssueError::Store), NOW);
    assert_eq!(reply.outcome, Outcome::Refused(StatusCode::InternalServerError));
    assert_eq!(peer.read(&reply).spi, None);

    let step = Peer::new(realm()).session.request(&init(|_| ()), NOW, &mut Broken);
    assert_eq!(status(step), StatusCode::InternalServerError);
    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    let content = peer.sign(&message);
    let step = peer.session.request(&content, NOW, &mut Broken);
    assert_eq!(status(step), StatusCode::InternalServerError);
}

/// HAC-15, R-4.
#[test]
fn hac_15_rfc2616_syntax() {
    let rand = hex(&MN_RAND);
    for accepted in [
        format!("MN-ID:mn1@example.net\r\nMn-Rand:{rand}\r\nAUTH-METHOD:PSK\r\n\r\n\r\n"),
        format!("mn-id : \t mn1@example.net\r\nmn-rand:  {rand} \r\nauth-method: psk\r\n\r\n\r\n"),
        format!(
            "mn-id:\r\n mn1@example.net\r\nmn-rand:\r\n\t{rand}\r\nauth-method:psk\r\n\r\n\r\n"
        ),
        format!(
            "auth-method:psk\r\nmn-rand:{rand}\r\nx-unknown:1\r\nmn-id:mn1@example.net\r\n\r\n"
        ),
    ] {
        let reply = responded(Peer::new(realm()).request(accepted.as_bytes()));
        assert_eq!(reply.outcome, Outcome::Challenged, "{accepted}");
    }
    for refused in [
        format!("mn-id:mn1@example.net\nmn-rand:{rand}\r\nauth-method:psk\r\n\r\n\r\n"),
        format!("mn-id:mn1@example.net\r\nmn-rand:{rand}\r\nauth-method:psk\r\n"),
        "\r\n\r\n\r\n".to_owned(),
        "\0\u{1}\u{2}".to_owned(),
    ] {
        assert_eq!(init_status(refused.as_bytes()), StatusCode::BadRequest, "{refused:?}");
    }
}

/// HAC-16.
#[test]
fn hac_16_mn_id_missing_or_malformed() {
    assert_eq!(init_status(&init(|message| message.mn_id = None)), StatusCode::BadRequest);
    let long = format!("{}@example.net", "a".repeat(242));
    assert_eq!(long.len(), 254);
    for id in ["@", "a b@example.net", "mn1@", &long] {
        let content = init(|_| ());
        let content = String::from_utf8(content).unwrap().replace("mn1@example.net", id);
        assert_eq!(init_status(content.as_bytes()), StatusCode::BadRequest, "{id}");
    }
}

/// HAC-17: none or only unknown ones 400, only EAP 501, and PSK wherever it is listed.
#[test]
fn hac_17_one_auth_method_is_chosen() {
    let with = |methods: &str| {
        let rand = hex(&MN_RAND);
        format!("mn-id:mn1@example.net\r\nmn-rand:{rand}\r\n{methods}\r\n\r\n")
    };
    assert_eq!(init_status(with("").as_bytes()), StatusCode::BadRequest);
    let unknown = with("auth-method:otp,x-9\r\n");
    assert_eq!(init_status(unknown.as_bytes()), StatusCode::BadRequest);
    for list in ["eap", "eap,otp"] {
        let content = with(&format!("auth-method:{list}\r\n"));
        let reply = responded(Peer::new(realm()).request(content.as_bytes()));
        assert_eq!(reply.outcome, Outcome::Refused(StatusCode::NotImplemented), "{list}");
        // no method was chosen, so there is no key either.
        assert_eq!(&**reply.content, b"status-code:501\r\n\r\n\r\n", "{list}");
    }
    for list in ["psk,eap", "eap , psk", "otp,psk"] {
        let mut peer = Peer::new(realm());
        let reply = responded(peer.request(with(&format!("auth-method:{list}\r\n")).as_bytes()));
        assert_eq!(peer.read(&reply).auth_methods, [AuthMethod::Psk], "{list}");
    }
}

/// HAC-18.
#[test]
fn hac_18_mn_rand_is_32_octets_of_hex() {
    assert_eq!(init_status(&init(|message| message.mn_rand = None)), StatusCode::BadRequest);
    for rand in ["11".repeat(31), "11".repeat(33), "1".repeat(63), "zz".repeat(32), String::new()] {
        let content = String::from_utf8(init(|_| ())).unwrap().replace(&hex(&MN_RAND), &rand);
        assert_eq!(init_status(content.as_bytes()), StatusCode::BadRequest, "{rand}");
    }
}

/// HAC-20.
#[test]
fn hac_20_hac_rand_is_fresh_and_mn_rand_echoed() {
    let mut peer = Peer::new(realm());
    let reply = responded(peer.request(&init(|_| ())));
    let first = peer.read(&reply);
    assert_eq!(first.mn_rand, Some(MN_RAND));
    // The same source goes on in another session.
    peer.session = Session::new(Arc::new(realm()), peer.binding.clone(), RETRY_AFTER);
    assert_ne!(peer.init(), first.hac_rand.unwrap());
}

/// HAC-21, HAC-25, HAC-27: wrong key, wrong certificate, wrong label.
#[test]
fn hac_21_25_27_wrong_auth_is_401() {
    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    peer.key = vec![0x5b; 32];
    let content = peer.sign(&message);
    assert_eq!(status(peer.request(&content)), StatusCode::Unauthorized);

    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    let relayed = message.encode_signed(Side::Mn, &PSK, binding().octets());
    assert_eq!(status(peer.request(&relayed)), StatusCode::Unauthorized);

    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    let reflected = message.encode_signed(Side::Hac, &PSK, peer.binding.octets());
    assert_eq!(status(peer.request(&reflected)), StatusCode::Unauthorized);
}

/// HAC-22, R-8: same steps, same headers, same lengths; the keyed refusal is no oracle either.
#[test]
fn hac_22_unknown_mn_id_looks_like_a_wrong_psk() {
    let shape = |id: &str| {
        let mut peer = Peer::new(realm());
        let first = responded(peer.request(&init(|message| message.mn_id = Some(mn_id(id)))));
        let hac_rand = message::parse(&first.content).unwrap().message.hac_rand.unwrap();
        peer.key = vec![7; 32];
        let content = peer.sign(&done(hac_rand));
        let second = responded(peer.request(&content));
        let names = |reply: &Reply| {
            let text = String::from_utf8(reply.content.to_vec()).unwrap();
            text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen = (first.outcome, names(&first), first.content.len());
        (seen, (second.outcome, names(&second), second.content.len()))
    };
    let known = shape("mn1@example.net");
    assert_eq!(known, shape("no1@example.net"));
    assert_eq!(known.1.0, Outcome::Refused(StatusCode::Unauthorized));
}

/// HAC-22: what would be right for a known mn-id is a 401 for an unknown one, whatever the suites.
#[test]
fn hac_22_unknown_mn_id_never_reaches_policy() {
    let mut peer = Peer::new(realm());
    let id = Some(mn_id("no1@example.net"));
    let first = responded(peer.request(&init(|message| message.mn_id = id)));
    let hac_rand = message::parse(&first.content).unwrap().message.hac_rand.unwrap();
    let mut message = done(hac_rand);
    message.suite_list = Some(vec![Suite::NullSha]);
    let content = peer.sign(&message);
    assert_eq!(status(peer.request(&content)), StatusCode::Unauthorized);
}

/// HAC-23.
#[test]
fn hac_23_auth_missing_not_last_or_twice() {
    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    assert_eq!(status(peer.request(&message.encode_unsigned())), StatusCode::BadRequest);
    for change in [
        (|text: &str| text.replace("\r\n\r\n\r\n", "\r\nx-more:1\r\n\r\n\r\n"))
            as fn(&str) -> String,
        |text| {
            let auth = text.find("auth:").unwrap();
            let line = text[auth..].trim_end();
            format!("{}{line}\r\n{line}\r\n\r\n\r\n", &text[..auth])
        },
    ] {
        let mut peer = Peer::new(realm());
        let message = done(peer.init());
        let content = change(std::str::from_utf8(&peer.sign(&message)).unwrap());
        assert_eq!(status(peer.request(content.as_bytes())), StatusCode::BadRequest);
    }
}

/// HAC-24: no flipped octet is ever accepted; where the message still reads, it is a 401.
#[test]
fn hac_24_every_octet_is_authenticated() {
    let mut peer = Peer::new(realm());
    let message = done(peer.init());
    let content = peer.sign(&message);
    let mut unauthorized = 0;
    for index in 0..content.len() - 6 {
        let mut peer = Peer::new(realm());
        let message = done(peer.init());
        let mut content = peer.sign(&message);
        content[index] ^= 0x01;
        let reads = message::parse(&content).is_ok_and(|parsed| parsed.auth.is_some());
        let status = status(peer.request(&content));
        let expected = if reads { StatusCode::Unauthorized } else { StatusCode::BadRequest };
        assert_eq!(status, expected, "octet {index}");
        unauthorized += usize::from(reads);
    }
    // Nearly all of the message is hexadecimal digits.
    assert!(unauthorized > content.len() / 2, "{unauthorized} of {}", content.len());
}

/// HAC-28.
#[test]
fn hac_28_other_nonces_are_401() {
    for change in [
        (|message: &mut Message| message.mn_rand = Some([0x12; 32])) as fn(&mut Message),
        |message| message.hac_rand = Some([0x12; 32]),
        |message| message.mn_id = Some(mn_id("mn2@example.net")),
    ] {
        assert_eq!(status(Peer::new(realm()).run(change)), StatusCode::Unauthorized);
    }
    for change in [
        (|message: &mut Message| message.mn_rand = None) as fn(&mut Message),
        |message| message.hac_rand = None,
        |message| message.scope = None,
        |message| message.suite_list = None,
    ] {
        assert_eq!(status(Peer::new(realm()).run(change)), StatusCode::BadRequest);
    }
}

/// HAC-29, HAC-30, R-12, R-16: suites.
#[test]
fn hac_29_30_suites() {
    let with =
        |list: &str| done_status(|rands| format!("{rands}mip6-sas:1\r\nmip6-suitelist:{list}\r\n"));
    assert_eq!(with("{00,2F}"), StatusCode::Ok);
    assert_eq!(with("{c0,30},{00,9C},{00,3c}"), StatusCode::Ok);
    assert_eq!(with("{00,02},{00,0A}"), StatusCode::NotImplemented);
    assert_eq!(with("{c0,30}"), StatusCode::NotImplemented);
    // known, and not offered where no policy names it.
    assert_eq!(with("{00,9C}"), StatusCode::NotImplemented);
    for malformed in ["{00,2F", "00,2F", "{0,2f}", "", "{00,2F},", "{00;2F}", "{00,2F}{00,3C}"] {
        assert_eq!(with(malformed), StatusCode::BadRequest, "{malformed}");
    }
}

/// NULL, 3DES and AES_128_GCM are issued where the deployment names them, each with its
/// keys (SA-04).
#[test]
fn every_suite_can_be_issued_where_it_is_named() {
    for suite in Suite::known() {
        let mut named = subscriber();
        named.policy.suites = vec![suite];
        let realm = realm();
        realm.subscribers.insert(mn_id("mn1@example.net"), named);
        let mut peer = Peer::new(realm);
        let (reply, _) =
            peer.success(|message| message.suite_list = Some(Suite::known().collect()));
        let response = peer.read(&reply);
        assert_eq!(response.suite, Some(suite));
        let len = |key: &Option<zeroize::Zeroizing<Vec<u8>>>| key.as_ref().map(|key| key.len());
        // A key without octets is no header at all.
        let of_suite = |len: usize| (len != 0).then_some(len);
        for ikey in [&response.mn_to_ha_ikey, &response.ha_to_mn_ikey] {
            assert_eq!(len(ikey), of_suite(suite.ikey_len()), "{suite}");
        }
        for ekey in [&response.mn_to_ha_ekey, &response.ha_to_mn_ekey] {
            assert_eq!(len(ekey), of_suite(suite.ekey_len()), "{suite}");
        }
        assert_eq!(response.mn_to_ha_ekey == response.ha_to_mn_ekey, suite.ekey_len() == 0);
    }
}

/// HAC-31.
#[test]
fn hac_31_our_scope_rules() {
    use Scope::{Signalling, SignallingAndData};
    for (policy, proposed, returned) in [
        (ScopePolicy::Mandated(SignallingAndData), Signalling, SignallingAndData),
        (ScopePolicy::Mandated(Signalling), SignallingAndData, Signalling),
        (ScopePolicy::Proposed, Signalling, Signalling),
    ] {
        let mut own = subscriber();
        own.policy.scope = policy;
        let realm = realm();
        realm.subscribers.insert(mn_id("mn1@example.net"), own);
        let mut peer = Peer::new(realm);
        let (reply, request) = peer.success(|message| message.scope = Some(proposed));
        assert_eq!(peer.read(&reply).scope, Some(returned));
        assert_eq!(request.scope, returned);
    }
}

/// HAC-32.
#[test]
fn hac_32_scope_is_0_or_1() {
    let with = |digit: &str| {
        done_status(|rands| format!("{rands}mip6-sas:{digit}\r\nmip6-suitelist:{{00,2F}}\r\n"))
    };
    assert_eq!((with("0"), with("1")), (StatusCode::Ok, StatusCode::Ok));
    for wrong in ["2", "9", "", "O", "o", "01", "-1"] {
        assert_eq!(with(wrong), StatusCode::BadRequest, "{wrong}");
    }
}

/// HAC-33, HAC-34: forms of dates and addresses.
#[test]
fn hac_33_34_dates_and_addresses() {
    let mut peer = Peer::new(realm());
    let (reply, _) = peer.success(|_| ());
    let text = String::from_utf8(reply.content.to_vec()).unwrap();
    let value = |name: &str| {
        let lines: Vec<_> = text.lines().filter_map(|line| line.split_once(':')).collect();
        let found = lines.into_iter().find(|(key, _)| *key == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.to_owned()
    };
    // 1800003600 by `date -u -R`.
    assert_eq!(value("mip6-sa-validity-end"), "Fri, 15 Jan 2027 09:00:00 GMT");
    for name in ["mip6-haa-ip6", "mip6-ip6-hoa", "mip6-ip6-hnp", "dns-ip6"] {
        let address = value(name);
        let words = address.split('/').next().unwrap().split(':').collect::<Vec<_>>();
        assert!(words.len() == 8 && words.iter().all(|word| !word.is_empty()), "{address}");
    }
    assert!(value("mip6-ip6-hnp").ends_with("/64"));
    assert_eq!(value("mip6-ip4-hnp"), "203.0.113.0/24");
    assert_eq!(value("mip6-port"), "7872");
}

/// HAC-35, HAC-38: an exhausted pool, exhausted SPIs and a busy store are 503 with retry-after.
#[test]
fn hac_35_38_come_back_later() {
    let pool = Pool { family: Family::Ip6, home_agent: 0 };
    for error in [IssueError::NoHomeAddress(pool), IssueError::NoSpi, IssueError::Busy] {
        let mut peer = Peer::new(realm());
        issue(peer.run(|_| ()));
        let reply = peer.session.issued(Err(error), NOW);
        assert_eq!(reply.outcome, Outcome::Refused(StatusCode::ServiceUnavailable));
        let response = peer.read(&reply);
        assert_eq!(response.retry_after, Some(NOW + RETRY_AFTER));
        assert_eq!((response.spi, response.hoa_ip6), (None, None));
    }
}

/// HAC-36: what only a response may say changes nothing in a request.
#[test]
fn hac_36_response_headers_in_a_request_are_not_honoured() {
    let mut peer = Peer::new(realm());
    let (reply, request) = peer.success(|message| {
        message.spi = Spi::new(99).ok();
        message.mn_to_ha_ikey = Some(zeroize::Zeroizing::new(vec![0; 20]));
        message.status = Some(StatusCode::Ok);
        message.validity_end = Some(NOW + 999_999);
        message.hoa_ip6 = Some("2001:db8:100::99".parse().unwrap());
    });
    let response = peer.read(&reply);
    assert_eq!(response.spi, Spi::new(7).ok());
    assert_eq!(response.hoa_ip6, Some("2001:db8:100::10".parse().unwrap()));
    assert_eq!(request.validity_end, NOW + 3600);
    assert_ne!(request.mn_to_ha.integrity(), [0; 20]);
}

/// HAC-37: the first response has no status-code.
#[test]
fn hac_37_status_only_at_the_end() {
    let mut peer = Peer::new(realm());
    let reply = responded(peer.request(&init(|_| ())));
    assert_eq!(peer.read(&reply).status, None);
    assert!(!reply.outcome.ends());
}

/// a refusal before the identity is known carries nothing but its status-code.
#[test]
fn a_refusal_without_identity_is_status_alone() {
    let reply = responded(Peer::new(realm()).request(b"junk"));
    assert_eq!(reply.content[..], *b"status-code:400\r\n\r\n\r\n");
}

/// HAC-13: a finished session takes nothing more.
#[test]
fn hac_13_nothing_after_done() {
    let mut peer = Peer::new(realm());
    peer.success(|_| ());
    assert_eq!(status(peer.request(&init(|_| ()))), StatusCode::BadRequest);
}

proptest::proptest! {
    /// Never panics, never issues on any octets, in either state.
    #[test]
    fn any_octets(first: Vec<u8>, second: Vec<u8>) {
        let mut peer = Peer::new(realm());
        responded(peer.request(&first));
        let mut peer = Peer::new(realm());
        peer.init();
        responded(peer.request(&second));
    }
}
