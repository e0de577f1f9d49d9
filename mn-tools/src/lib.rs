//! The mobile node: bootstraps over TLS, registers, tunnels, hands over (RFC 6618, RFC 6275 s.11).
//!
//! It shares `hearth-wire` with the home agent and nothing else; its cryptography is `hearth-esp`.
//!
//! | module | what |
//! |---|---|
//! | [`config`] | the YAML file |
//! | [`bootstrap`], [`eap`] | the exchange with the HAC, over message octets |
//! | [`care_of_addresses`], [`flows`] | one registration or several, and which traffic prefers which |
//! | [`registration`] | the state machine of Binding Updates, over events and times |
//! | [`signalling`] | Binding Updates and Acknowledgements in protected frames |
//! | [`association`] | a security association: keys, numbers, replay window |
//! | [`path`], [`network`], [`netlink`] | which ways lead to the home agent |
//! | [`tls`], [`hac_client`] | certificate verification, channel binding, the session |
//! | [`tun`], [`tunnel`] | the device with its routing, and the threads of the data path |
//! | [`claim`] | keeps a second node off the first one's routing |
//! | [`discovery`] | from the HAC's name to addresses |
//! | [`host_dns`], [`clock`], [`repair`] | the host: its DNS servers, its sleep, and putting it back after a SIGKILL |
//! | [`route_optimisation`] | correspondents that send to the care-of address directly |
//! | [`lan`] | a mobile router's addresses in its networks |
//! | [`place`], [`control`], [`notify`] | who can ask a running node, and whom it tells |
//! | [`commands`], [`show`], [`syslog`] | the command line and what it prints |
//! | [`fleet`] | many nodes in one process, as a load |
//! | [`run`], [`status`], [`hardening`] | all of it running, and what a person sees of it |
#![forbid(unsafe_code)]

pub mod association;
pub mod bootstrap;
pub mod care_of_addresses;
pub mod claim;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod discovery;
pub mod eap;
pub mod fleet;
pub mod flows;
pub mod hac_client;
pub mod hardening;
pub mod host_dns;
pub mod lan;
pub mod netlink;
pub mod network;
pub mod notify;
pub mod path;
pub mod place;
pub mod registration;
pub mod repair;
pub mod route_optimisation;
pub mod run;
pub mod show;
pub mod signalling;
pub mod status;
pub mod syslog;
pub mod tls;
pub mod tun;
pub mod tunnel;
