//! AAA servers by others: FreeRADIUS and hostapd, each in a folder of its own.

mod certificates;
mod freeradius;
mod hostapd;
mod place;
mod probe;

pub use certificates::{certificate, certificates};
pub use freeradius::FreeRadius;
pub use hostapd::{Hostapd, KI, OPC, Usim};
pub use place::Place;

/// What both servers share with their clients.
pub const SECRET: &str = "sixteen octets..";
/// The subscriber that both know.
pub const NAME: &str = "mn1@example.net";
/// One that FreeRADIUS alone knows: it gets 2001:db8:100::33 for 600 seconds.
pub const UNLISTED: &str = "mn3@example.net";
/// One whose home address FreeRADIUS makes up.
pub const STRAY: &str = "mn4@example.net";
/// One that gets two mobile networks and the policy of ships.example.net.
pub const ROUTER: &str = "mn5@example.net";
/// One that is to get a part of one of these networks.
pub const TAKER: &str = "mn6@example.net";
/// Its password (TTLS, PEAP, PWD).
pub const PASSWORD: &str = "a pass word";
/// Its key (GPSK).
pub const PSK: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Its IMSI; its USIM's secrets are hostapd's (AKA').
pub const IMSI: &str = "232010000000000";

/// wpa_supplicant's network block with these lines.
fn network(lines: &str) -> String {
    format!("network={{\nkey_mgmt=WPA-EAP\n{lines}\n}}\n")
}
