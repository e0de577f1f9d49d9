//! The TLS server: its settings, its certificates, which of them a client meets.
//!
//! Read first: RFC 6618 s.5.8, 9.2; readings.
//!
//! | module | what it is |
//! |---|---|
//! | [`settings`] | versions, cipher suites, tickets |
//! | [`identity`] | one certificate with its key, its channel binding and its tickets |
//! | [`ocsp`] | whether a response may be stapled |
//! | [`server`] | all certificates; the choice among them; reading them again |

pub mod identity;
pub mod ocsp;
pub mod server;
pub mod settings;

pub use identity::{Files, Identity, LoadError};
pub use server::{Choice, Server, UnknownName};
pub use settings::Settings;
