//! The state machine against a correspondent that follows RFC 6275 s.9, with keys of its own making.

use hearth_wire::exthdr;
use hearth_wire::ip::Ipv6Header;
use hearth_wire::mh::{
    BaOptions, BindingAck, BindingError, BindingUpdate, Repeated, Status, emit, emit_authorized,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use super::*;

const HOME: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 1, 0, 0, 0, 7);
const CARE_OF: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, 0x100);
const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 0x100);
const CN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);
const HOME_TOKEN: [u8; 8] = [1; 8];
const CARE_OF_TOKEN: [u8; 8] = [2; 8];
const HOME_INDEX: u16 = 11;
const CARE_OF_INDEX: u16 = 12;

/// A Mobility Header that the node sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    HomeInit([u8; 8]),
    CareOfInit([u8; 8], Ipv6Addr),
    Update { seq: u16, lifetime: u16, care_of: Ipv6Addr, by: By },
}

struct Bench {
    it: RouteOptimisation,
    now: Instant,
    /// Whether the last told routes are direct.
    direct: bool,
    left_alone: Vec<Why>,
}

fn kbm(deletes: bool) -> Vec<u8> {
    let care_of = if deletes { &[][..] } else { &CARE_OF_TOKEN };
    Sha1::digest([&HOME_TOKEN[..], care_of].concat()).to_vec()
}

fn mac(key: &[u8], care_of: Ipv6Addr, mh_data: &[u8]) -> [u8; 12] {
    let mut mac = <Hmac<Sha1>>::new_from_slice(key).unwrap();
    mac.update(&[&care_of.octets()[..], &CN.octets(), mh_data].concat());
    mac.finalize().into_bytes()[..12].try_into().unwrap()
}

impl Bench {
    fn new() -> Self {
        let prefixes = vec!["2001:db8:c::/64".parse().unwrap()];
        let it = RouteOptimisation::new(prefixes, IvSource::new().unwrap());
        let mut bench = Self { it, now: Instant::now(), direct: false, left_alone: Vec::new() };
        bench.move_to(Some(CARE_OF));
        bench
    }

    /// Away from home, registered directly.
    fn optimised() -> Self {
        let mut bench = Self::new();
        let got = bench.first_packet();
        let got = bench.answer_tests(&got);
        bench.acknowledge(&got, Status::ACCEPTED, 105);
        assert!(bench.direct);
        bench
    }

    fn move_to(&mut self, care_of: Option<Ipv6Addr>) {
        self.it.on_place(Place { home: Some(HOME), care_of }, self.now);
    }

    fn first_packet(&mut self) -> Vec<Got> {
        self.it.on_packet(CN, self.now);
        self.got()
    }

    /// What has been sent, checked as a correspondent would (s.9.5.1).
    fn got(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        while let Some(action) = self.it.action() {
            match action {
                Action::Send(by, packet) => got.push(read(by, &packet)),
                Action::Routes => self.direct = self.it.routes().any(|route| route.direct),
                Action::Optimised(correspondent, ..) => assert_eq!(correspondent, CN),
                Action::LeftAlone(correspondent, why) => {
                    assert_eq!(correspondent, CN);
                    self.left_alone.push(why);
                }
            }
        }
        got
    }

    fn say(&mut self, to: Ipv6Addr, message: &Message<'_>) -> Vec<Got> {
        let mut header = [0; 128];
        let len = emit(message, CN, to, &mut header).unwrap();
        let by = if to == HOME { By::Home } else { By::CareOf };
        self.it.on_mobility_header((CN, to), by, &header[..len], self.now);
        self.got()
    }

    fn test(&mut self, address: TestedAddress, to: Ipv6Addr, cookie: [u8; 8]) -> Vec<Got> {
        let (nonce_index, token) = match address {
            TestedAddress::Home => (HOME_INDEX, &HOME_TOKEN),
            TestedAddress::CareOf => (CARE_OF_INDEX, &CARE_OF_TOKEN),
        };
        let token = KeygenToken(token);
        let test = ReturnRoutability::Test { address, nonce_index, cookie, token };
        self.say(to, &Message::ReturnRoutability(test))
    }

    fn answer_tests(&mut self, got: &[Got]) -> Vec<Got> {
        let mut answers = Vec::new();
        for message in got {
            answers.extend(match *message {
                Got::HomeInit(cookie) => self.test(TestedAddress::Home, HOME, cookie),
                Got::CareOfInit(cookie, from) => self.test(TestedAddress::CareOf, from, cookie),
                Got::Update { .. } => panic!("an update without tests"),
            });
        }
        answers
    }

    fn acknowledge(&mut self, got: &[Got], status: Status, lifetime: u16) -> Vec<Got> {
        let [Got::Update { seq, lifetime: asked, care_of, .. }] = *got else {
            panic!("no update: {got:?}")
        };
        self.acknowledge_as(&kbm(asked == 0), care_of, (status, seq, lifetime))
    }

    fn acknowledge_as(
        &mut self,
        key: &[u8],
        care_of: Ipv6Addr,
        (status, seq, lifetime): (Status, u16, u16),
    ) -> Vec<Got> {
        let ack = Message::BindingAck(BindingAck {
            status,
            key_management: false,
            mobile_router: false,
            seq,
            lifetime,
            options: BaOptions::default(),
        });
        if matches!(status.0, 136..=138) {
            return self.say(HOME, &ack);
        }
        let mut header = [0; 128];
        let len = emit_authorized(&ack, CN, HOME, &mut header, |data| mac(key, care_of, data));
        self.it.on_mobility_header((CN, HOME), By::CareOf, &header[..len.unwrap()], self.now);
        self.got()
    }

    fn error(&mut self, status: u8) -> Vec<Got> {
        let error = BindingError { status, home_address: HOME };
        self.say(CARE_OF, &Message::BindingError(error))
    }

    /// Waits until something is due, and does it.
    fn wait(&mut self) -> Vec<Got> {
        self.now = self.it.deadline().expect("something to come");
        self.it.on_timer(self.now);
        self.got()
    }

    fn wait_for(&mut self, span: Duration) -> Vec<Got> {
        let until = self.now + span;
        let mut got = Vec::new();
        while self.it.deadline().is_some_and(|at| at <= until) {
            got.extend(self.wait());
        }
        self.now = until;
        got
    }

    fn state(&self) -> Option<State> {
        self.it.states().first().map(|(_, state)| *state)
    }
}

fn read(by: By, packet: &[u8]) -> Got {
    let (header, payload) = Ipv6Header::parse(packet).unwrap();
    assert_eq!(header.destination(), CN);
    let chain = exthdr::parse_chain(header.next_header, payload).unwrap();
    let source = chain.home_address.unwrap_or(header.source());
    assert_eq!(by == By::Home, header.source() == HOME);
    match mh::parse(chain.mobility_header, source, CN).unwrap() {
        Message::ReturnRoutability(ReturnRoutability::Init { address, cookie }) => match address {
            TestedAddress::Home => Got::HomeInit(cookie),
            TestedAddress::CareOf => Got::CareOfInit(cookie, header.source()),
        },
        Message::BindingUpdate(BindingUpdate { seq, flags, lifetime, options }) => {
            assert!(flags.acknowledge && !flags.home_registration);
            assert_eq!(source, HOME);
            let nonces = options.nonce_indices.unwrap();
            let deletes = lifetime == 0;
            let care_of_index = if deletes { 0 } else { CARE_OF_INDEX };
            assert_eq!((nonces.home, nonces.care_of), (HOME_INDEX, care_of_index));
            let mut covered = chain.mobility_header.to_vec();
            covered[4..6].fill(0);
            let authenticator = covered.split_off(covered.len() - 12);
            assert_eq!(authenticator, mac(&kbm(deletes), header.source(), &covered));
            Got::Update { seq, lifetime, care_of: header.source(), by }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_tests_then_an_update_then_directly() {
    let mut bench = Bench::new();
    let got = bench.first_packet();
    let [Got::HomeInit(home), Got::CareOfInit(care_of, CARE_OF)] = got[..] else {
        panic!("{got:?}")
    };
    assert!(home != care_of && bench.first_packet().is_empty());
    assert_eq!(bench.state(), Some(State::Asked));
    let got = bench.answer_tests(&got);
    let [Got::Update { lifetime: 105, care_of: CARE_OF, by: By::CareOf, .. }] = got[..] else {
        panic!("{got:?}")
    };
    assert!(!bench.direct, "not before it is acknowledged");
    assert_eq!(bench.acknowledge(&got, Status::ACCEPTED, 100), []);
    assert!(bench.direct);
    let expires = bench.now + Duration::from_secs(400);
    assert_eq!(bench.state(), Some(State::Optimised(CARE_OF, expires)));
    // Not used any more: it ends at the correspondent and here.
    assert_eq!(bench.wait_for(Duration::from_secs(400)), []);
    assert!(!bench.direct && bench.state().is_none());
}

/// RFC 6275 s.11.6.2.
#[test]
fn tests_that_nobody_asked_for_are_ignored() {
    let mut bench = Bench::new();
    let got = bench.first_packet();
    let [Got::HomeInit(home), Got::CareOfInit(care_of, _)] = got[..] else { panic!("{got:?}") };
    for (address, to, cookie) in [
        (TestedAddress::Home, HOME, care_of),
        (TestedAddress::CareOf, CARE_OF, home),
        (TestedAddress::Home, CARE_OF, home),
        (TestedAddress::CareOf, HOME, care_of),
        (TestedAddress::CareOf, ELSEWHERE, care_of),
    ] {
        assert_eq!(bench.test(address, to, cookie), []);
    }
    // A Home Test that did not come in the tunnel.
    let token = KeygenToken(&HOME_TOKEN);
    let address = TestedAddress::Home;
    let test = ReturnRoutability::Test { address, nonce_index: 1, cookie: home, token };
    let mut header = [0; 64];
    let len = emit(&Message::ReturnRoutability(test), CN, HOME, &mut header).unwrap();
    bench.it.on_mobility_header((CN, HOME), By::CareOf, &header[..len], bench.now);
    // The cookies of messages that were sent again are no longer good (s.11.8).
    let again = bench.wait();
    assert_eq!(bench.answer_tests(&got), []);
    assert!(matches!(bench.answer_tests(&again)[..], [Got::Update { .. }]));
}

#[test]
fn acknowledgements_of_others_are_ignored() {
    let mut bench = Bench::new();
    let got = bench.first_packet();
    let got = bench.answer_tests(&got);
    let [Got::Update { seq, .. }] = got[..] else { panic!("{got:?}") };
    let good = (Status::ACCEPTED, seq, 105);
    bench.acknowledge_as(&[3; 20], CARE_OF, good);
    bench.acknowledge_as(&kbm(false), ELSEWHERE, good);
    bench.acknowledge_as(&kbm(false), CARE_OF, (Status::ACCEPTED, seq.wrapping_add(1), 105));
    let bare = BindingAck {
        status: Status::ACCEPTED,
        key_management: false,
        mobile_router: false,
        seq,
        lifetime: 105,
        options: BaOptions::default(),
    };
    bench.say(HOME, &Message::BindingAck(bare));
    assert!(!bench.direct);
    bench.acknowledge_as(&kbm(false), CARE_OF, good);
    assert!(bench.direct);
}

#[test]
fn who_is_silent_is_left_alone_for_a_while() {
    let mut bench = Bench::new();
    let mut sent = bench.first_packet().len();
    let begin = bench.now;
    while bench.left_alone.is_empty() {
        sent += bench.wait().len();
    }
    assert_eq!((sent, bench.now - begin), (8, Duration::from_secs(15)));
    assert_eq!(bench.left_alone, [Why::Silent]);
    assert_eq!(bench.first_packet(), []);
    bench.wait_for(Duration::from_secs(600));
    assert_eq!(bench.first_packet().len(), 2);
}

#[test]
fn a_used_binding_is_refreshed_and_stays_direct() {
    let mut bench = Bench::optimised();
    let traffic = bench.it.routes().next().unwrap().traffic;
    let mut got = Vec::new();
    while got.is_empty() {
        traffic.count_sent();
        traffic.count_received();
        got = bench.wait();
    }
    // The tokens are too old by now.
    assert!(matches!(got[..], [Got::HomeInit(_), Got::CareOfInit(..)]), "{got:?}");
    let got = bench.answer_tests(&got);
    assert!(bench.direct);
    bench.acknowledge(&got, Status::ACCEPTED, 105);
    let expires = bench.now + Duration::from_secs(420);
    assert_eq!(bench.state(), Some(State::Optimised(CARE_OF, expires)));
}

/// s.11.6.1: the home keygen token is used again.
#[test]
fn a_handover_tests_the_new_address_alone() {
    let mut bench = Bench::optimised();
    bench.move_to(Some(ELSEWHERE));
    let got = bench.got();
    assert!(!bench.direct);
    let [Got::CareOfInit(_, ELSEWHERE)] = got[..] else { panic!("{got:?}") };
    let got = bench.answer_tests(&got);
    let [Got::Update { care_of: ELSEWHERE, .. }] = got[..] else { panic!("{got:?}") };
    bench.acknowledge(&got, Status::ACCEPTED, 105);
    assert!(bench.direct);
    // After MAX_TOKEN_LIFETIME it needs both.
    bench.wait_for(Duration::from_secs(210));
    bench.move_to(Some(CARE_OF));
    assert!(matches!(bench.got()[..], [Got::HomeInit(_), Got::CareOfInit(..)]));
}

/// On the home link, over IPv4, or at the end.
#[test]
fn without_a_care_of_address_the_binding_is_taken_away_by_the_tunnel() {
    for stops in [false, true] {
        let mut bench = Bench::optimised();
        if stops {
            bench.it.on_stop(bench.now);
        } else {
            bench.move_to(None);
        }
        let got = bench.got();
        assert!(!bench.direct && !bench.it.is_done());
        let [Got::Update { lifetime: 0, care_of: HOME, by: By::Home, .. }] = got[..] else {
            panic!("{got:?}")
        };
        assert!(matches!(bench.wait()[..], [Got::Update { lifetime: 0, .. }]), "once more");
        bench.acknowledge(&got, Status::ACCEPTED, 0);
        assert!(!bench.it.is_done(), "the answer to an older update");
        let got = bench.wait();
        bench.acknowledge(&got, Status::ACCEPTED, 0);
        assert!(bench.it.is_done() && bench.state().is_none());
        assert_eq!(bench.it.wanted(), []);
    }
}

#[test]
fn expired_nonces_are_asked_for_again() {
    for (status, home, care_of) in [
        (Status::EXPIRED_HOME_NONCE, true, false),
        (Status::EXPIRED_CARE_OF_NONCE, false, true),
        (Status::EXPIRED_NONCES, true, true),
    ] {
        let mut bench = Bench::new();
        let got = bench.first_packet();
        let got = bench.answer_tests(&got);
        let again = bench.acknowledge(&got, status, 0);
        let has = |wanted: fn(&Got) -> bool| again.iter().any(wanted);
        assert_eq!(has(|got| matches!(got, Got::HomeInit(_))), home, "{status}");
        assert_eq!(has(|got| matches!(got, Got::CareOfInit(..))), care_of, "{status}");
        let got = bench.answer_tests(&again);
        bench.acknowledge(&got, Status::ACCEPTED, 105);
        assert!(bench.direct);
    }
}

#[test]
fn a_sequence_number_out_of_window_is_adopted_once_authentic() {
    let mut bench = Bench::new();
    let got = bench.first_packet();
    let _ = bench.answer_tests(&got);
    let of = |status| (status, 1000, 0);
    let forged = bench.acknowledge_as(&[3; 20], CARE_OF, of(Status::SEQUENCE_OUT_OF_WINDOW));
    assert_eq!(forged, []);
    let got = bench.acknowledge_as(&kbm(false), CARE_OF, of(Status::SEQUENCE_OUT_OF_WINDOW));
    let [Got::Update { seq: 1001, .. }] = got[..] else { panic!("{got:?}") };
    // Whoever never likes a number is left alone, with three updates a second at most.
    let mut last = got;
    while bench.left_alone.is_empty() {
        last = match last[..] {
            [Got::Update { .. }] => bench.acknowledge(&last, Status::SEQUENCE_OUT_OF_WINDOW, 0),
            _ => bench.wait(),
        };
    }
    assert_eq!(bench.left_alone, [Why::Refused(135)]);
}

#[test]
fn a_refusal_leaves_it_alone() {
    let mut bench = Bench::new();
    let got = bench.first_packet();
    let got = bench.answer_tests(&got);
    // It may have a binding all the same: that is taken away.
    let got = bench.acknowledge(&got, Status::ADMINISTRATIVELY_PROHIBITED, 0);
    let [Got::Update { lifetime: 0, by: By::Home, .. }] = got[..] else { panic!("{got:?}") };
    bench.acknowledge(&got, Status::ACCEPTED, 0);
    assert_eq!(bench.left_alone, [Why::Refused(129)]);
    assert!(!bench.direct);
}

#[test]
fn what_does_not_know_mobile_ipv6_is_left_alone() {
    let error = |trouble, source| IcmpError { source, destination: CN, is_mobile: true, trouble };
    let mut bench = Bench::new();
    bench.first_packet();
    bench.it.on_icmp(&error(Trouble::NotUnderstood, ELSEWHERE), bench.now);
    bench.got();
    assert_eq!(bench.left_alone, []);
    bench.it.on_icmp(&error(Trouble::NotUnderstood, CARE_OF), bench.now);
    bench.got();
    assert_eq!(bench.left_alone, [Why::NotSupported]);
    // Elsewhere too.
    bench.move_to(Some(ELSEWHERE));
    assert_eq!(bench.first_packet(), []);
    let mut bench = Bench::new();
    bench.first_packet();
    bench.error(2);
    assert_eq!(bench.left_alone, [Why::NotSupported]);
}

/// s.11.3.6: the tunnel at once, and another try, unless it was just made.
#[test]
fn a_forgotten_binding_is_made_again() {
    let mut bench = Bench::optimised();
    bench.wait_for(Duration::from_secs(20));
    let got = bench.error(1);
    assert!(!bench.direct);
    assert!(matches!(got[..], [Got::Update { lifetime: 105, .. }]), "{got:?}");
    bench.acknowledge(&got, Status::ACCEPTED, 105);
    assert!(bench.direct);
    assert_eq!(bench.error(1), []);
    assert!(!bench.direct);
    assert_eq!(bench.left_alone, [Why::Forgotten]);
}

#[test]
fn a_way_from_which_nothing_comes_back_is_asked_and_given_up() {
    let mut bench = Bench::optimised();
    let traffic = bench.it.routes().next().unwrap().traffic;
    let begin = bench.now;
    let mut got = Vec::new();
    while got.is_empty() {
        traffic.count_sent();
        got = bench.wait();
    }
    assert!(matches!(got[..], [Got::Update { lifetime: 105, .. }]), "{got:?}");
    assert_eq!(bench.now - begin, Duration::from_secs(6));
    assert!(bench.direct);
    let got = bench.wait_for(Duration::from_secs(15));
    assert!(!bench.direct);
    assert!(matches!(got.last(), Some(Got::Update { lifetime: 0, by: By::Home, .. })), "{got:?}");
    bench.acknowledge(&got[got.len() - 1..], Status::ACCEPTED, 0);
    assert_eq!(bench.left_alone, [Why::Silent]);
}

#[test]
fn no_more_than_three_messages_of_a_kind_within_a_second() {
    let mut bench = Bench::optimised();
    let mut inits = 0;
    for place in [ELSEWHERE, CARE_OF, ELSEWHERE, CARE_OF, ELSEWHERE] {
        bench.move_to(Some(place));
        inits += bench.got().len();
    }
    // One before, two now.
    assert_eq!(inits, 2);
    let got = bench.wait();
    let [Got::CareOfInit(_, ELSEWHERE)] = got[..] else { panic!("{got:?}") };
}

#[test]
fn only_those_that_are_wanted_and_no_more_than_there_is_room_for() {
    let mut bench = Bench::new();
    for other in ["2001:db8:d::2", "ff0e::1", "fe80::1", "2001:db8:b:1::7"] {
        bench.it.on_packet(other.parse().unwrap(), bench.now);
        assert_eq!(bench.it.states(), []);
    }
    for at in 1..=2 * u16::try_from(MAX_CORRESPONDENTS).unwrap() {
        bench.it.on_packet(Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, at), bench.now);
    }
    assert_eq!(bench.it.states().len(), MAX_CORRESPONDENTS);
}

#[test]
fn a_router_that_names_an_mtu_is_believed_down_to_1280() {
    let mut bench = Bench::optimised();
    for (named, kept) in [(1400, 1400), (68, 1280)] {
        let trouble = Trouble::TooBig(named);
        let error = IcmpError { source: CARE_OF, destination: CN, is_mobile: true, trouble };
        bench.it.on_icmp(&error, bench.now);
        assert_eq!(bench.it.routes().next().unwrap().mtu, Some(kept));
        assert!(bench.it.action() == Some(Action::Routes) && bench.direct);
    }
}

#[test]
fn a_refresh_request_is_obeyed_where_there_is_traffic() {
    let mut bench = Bench::optimised();
    let request = Message::BindingRefreshRequest { bids: Repeated::default() };
    assert_eq!(bench.say(HOME, &request), []);
    bench.it.routes().next().unwrap().traffic.count_received();
    assert!(matches!(bench.say(HOME, &request)[..], [Got::Update { .. }]));
}
