//! Copies at the three stages.

use std::net::IpAddr;

use hearth_dataplane::Filter;
use hearth_dataplane::capture::{CAPTURE_MAC, CaptureStage, Way};
use hearth_wire::{Scope, Suite};

use crate::codec;
use crate::only;
use crate::rig::{ACCESS, CN4, CN6, HOME, MobileNode, Rig};

/// A copy as its stage, its way and its octets.
type Copy = (CaptureStage, Way, Vec<u8>);

fn copies(rig: &mut Rig) -> Vec<Copy> {
    let mut copies = Vec::new();
    rig.control.captured(usize::MAX, |copy| {
        assert_eq!(copy.port.is_some(), copy.stage == CaptureStage::Wire);
        copies.push((copy.stage, copy.way, copy.frame.data().to_vec()));
    });
    copies
}

/// The frame that a capture makes of a packet.
fn made_up(stage: CaptureStage, way: Way, packet: &[u8]) -> Copy {
    let (to, from) = match way {
        Way::In => (CAPTURE_MAC, stage.mac()),
        Way::Out => (stage.mac(), CAPTURE_MAC),
    };
    (stage, way, codec::ethernet(to, from, packet))
}

fn contains(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

#[test]
fn each_stage_has_its_copy_in_both_directions() {
    let mut rig = Rig::new();
    for suite in Suite::ALL {
        let mut mn = rig.attach(MobileNode::new(3, suite, Scope::SignallingAndData, true));
        rig.control.start_capture(&CaptureStage::ALL, &Filter::EVERYTHING, u64::MAX).unwrap();
        let inner = mn.inner6();
        let outer = mn.data(&inner);
        rig.send(ACCESS, &outer);
        let received = codec::ethernet(rig.mac(ACCESS), [2, 9, 9, 9, 9, 9], &outer);
        let sent = rig.received_one(HOME);
        assert_eq!(
            copies(&mut rig),
            [
                (CaptureStage::Wire, Way::In, received),
                made_up(CaptureStage::Protected, Way::In, &outer),
                made_up(CaptureStage::Decrypted, Way::In, &inner),
                (CaptureStage::Wire, Way::Out, sent.0),
            ]
        );

        let mut inner = codec::ip(CN4.into(), mn.home4.into(), 17, b"down");
        rig.send(HOME, &inner);
        let received = codec::ethernet(rig.mac(HOME), [2, 9, 9, 9, 9, 9], &inner);
        let sent = rig.received_one(ACCESS);
        // One hop less, and the checksum mended.
        inner = mn.open(&sent).payload;
        assert_eq!(
            copies(&mut rig),
            [
                (CaptureStage::Wire, Way::In, received),
                made_up(CaptureStage::Decrypted, Way::Out, &inner),
                made_up(CaptureStage::Protected, Way::Out, sent.packet()),
                (CaptureStage::Wire, Way::Out, sent.0),
            ]
        );
        rig.control.stop_capture(drop);
        rig.tables.unbind(mn.home6);
        rig.tables.remove_sa(mn.spi).unwrap();
        rig.reclaim();
    }
    rig.finish();
}

#[test]
fn nothing_is_in_the_clear_unless_it_is_named() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let stages = [CaptureStage::Wire, CaptureStage::Protected];
    let filter = only(&[mn.spi], &[]);
    rig.control.start_capture(&stages, &filter, u64::MAX).unwrap();
    let secret = b"only for the correspondent";
    let packet = mn.data(&codec::ip(mn.home6.into(), CN6.into(), 17, secret));
    rig.send(ACCESS, &packet);
    rig.send(ACCESS, &mn.sealed(&mn.plain(8, 9, 135, &[59, 3, 5, 0, 0, 0, 0, 0])));
    rig.events();
    let got = copies(&mut rig);
    assert_eq!(got.len(), 4, "{got:?}");
    assert!(got.iter().all(|(stage, _, _)| stages.contains(stage)));
    assert!(!got.iter().any(|(_, _, octets)| contains(octets, secret)));
    rig.finish();
}

/// the content of PType 8 has no IP header, the copy has one.
#[test]
fn signalling_is_decrypted_too() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::new(4, Suite::Aes128CbcSha256, Scope::Signalling, false));
    let filter = only(&[mn.spi], &[]);
    rig.control.start_capture(&[CaptureStage::Decrypted], &filter, u64::MAX).unwrap();
    let content = [59, 1, 5, 0, 0, 0, 0, 7];
    rig.send(ACCESS, &mn.sealed(&mn.plain(8, 0, 135, &content)));
    rig.events();
    rig.control.send_signalling(mn.spi, mn.local, mn.remote, 135, &content).unwrap();
    rig.turns();
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::from(v4.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    let (mobile, home) = (mapped(mn.remote.ip()), mapped(mn.local.ip()));
    let up = codec::ip(mobile, home, 135, &content);
    let down = codec::ip(home, mobile, 135, &content);
    assert_eq!(
        copies(&mut rig),
        [
            made_up(CaptureStage::Decrypted, Way::In, &up),
            made_up(CaptureStage::Decrypted, Way::Out, &down),
        ]
    );
    rig.finish();
}

/// PType 0 is no protected packet, but it has contents.
#[test]
fn plain_envelopes_have_contents_too() {
    let mut rig = Rig::new();
    let mn = rig.attach(MobileNode::new(5, Suite::Aes128CbcSha, Scope::Signalling, true));
    let stages = [CaptureStage::Protected, CaptureStage::Decrypted];
    let filter = only(&[mn.spi], &[mn.home6.into()]);
    rig.control.start_capture(&stages, &filter, u64::MAX).unwrap();
    let up = mn.inner6();
    rig.send(ACCESS, &mn.clear(&up));
    rig.send(HOME, &codec::ip(CN6.into(), mn.home6.into(), 17, b"down"));
    let down = codec::Datagram::read(rig.received_one(ACCESS).packet()).content[8..].to_vec();
    assert_eq!(
        copies(&mut rig),
        [
            made_up(CaptureStage::Decrypted, Way::In, &up),
            made_up(CaptureStage::Decrypted, Way::Out, &down),
        ]
    );
    rig.finish();
}

#[test]
fn only_what_the_filter_means_and_only_so_many() {
    let mut rig = Rig::new();
    let mut one = rig.attach(MobileNode::usual());
    let mut two = rig.attach(MobileNode::new(2, Suite::NullSha, Scope::SignallingAndData, false));
    let filter = only(&[one.spi], &[]);
    rig.control.start_capture(&[CaptureStage::Protected], &filter, 3).unwrap();
    for _ in 0..5 {
        for mn in [&mut one, &mut two] {
            let packet = mn.data(&mn.inner6());
            rig.send(ACCESS, &packet);
        }
    }
    let got = copies(&mut rig);
    assert_eq!(got.len(), 3);
    let source = |octets: &[u8]| codec::Datagram::read(&octets[14..]).from;
    assert!(got.iter().all(|(_, _, octets)| source(octets) == one.remote));
    let progress = rig.control.stop_capture(drop);
    assert_eq!((progress.taken, progress.lost), (3, 0));
    let packet = one.data(&one.inner6());
    rig.send(ACCESS, &packet);
    assert!(copies(&mut rig).is_empty());
    rig.finish();
}

/// A client that does not keep up loses copies; the traffic loses nothing, and no buffer.
#[test]
fn what_does_not_fit_is_lost_to_the_capture_alone() {
    let mut rig = Rig::new();
    let packet = codec::ip(CN4.into(), IpAddr::from([192, 0, 2, 77]), 17, b"many");
    for _ in 0..3 {
        rig.control.start_capture(&[CaptureStage::Wire], &Filter::EVERYTHING, u64::MAX).unwrap();
        for _ in 0..1000 {
            rig.send(HOME, &packet);
            assert_eq!(rig.received(ACCESS).len(), 1);
        }
        let got = copies(&mut rig);
        let progress = rig.control.stop_capture(drop);
        assert_eq!(got.len() as u64, progress.taken);
        assert_eq!(progress.taken + progress.lost, 2000);
        assert_eq!(progress.taken, 1023, "as many as there are buffers");
    }
    assert!(rig.drops().is_empty());
    rig.finish();
}

/// A copy that nobody fetched in time is not in the next capture.
#[test]
fn captures_do_not_mix() {
    let mut rig = Rig::new();
    let mut mn = rig.attach(MobileNode::usual());
    let all = Filter::EVERYTHING;
    rig.control.start_capture(&CaptureStage::ALL, &all, u64::MAX).unwrap();
    let packet = mn.data(&mn.inner6());
    rig.send(ACCESS, &packet);
    rig.control.start_capture(&[CaptureStage::Wire], &all, u64::MAX).unwrap();
    assert!(copies(&mut rig).is_empty());
    rig.finish();
}
