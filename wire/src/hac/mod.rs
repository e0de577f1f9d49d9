//! The MN-HAC protocol inside TLS: container, TV-headers, MHAuth messages.
//!
//! Read first: RFC 6618 s.5.1 to 5.8; RFC 2616 s.2.1; readings.
//!
//! A [`container`] carries one message: TV-headers, the last of which may be `auth`, and the
//! end-of-message. [`message::parse`] takes the headers apart and refuses what is malformed,
//! [`message::verify`] checks `auth`, and [`message::Message`] writes itself.

pub mod auth;
pub mod container;
pub mod error;
pub mod header;
pub mod message;

mod encode;
#[cfg(test)]
mod tests;
mod value;

pub use auth::Side;
pub use container::{Container, ContainerError};
pub use error::MessageError;
pub use header::HeaderName;
pub use message::{AuthMethod, Message, Parsed, StatusCode};
