//! The SA directory: what the HAC issued, durable, and told to home agents.
//!
//! One thread owns all writing ([`writer`]): it takes what sessions want issued, writes a whole
//! batch of them in one transaction, and only when that is on disk tells watchers and answers the
//! sessions. So a record is durable and on its way to its home agent before Response/Done leaves,
//! and all watchers see changes in the order in which they were written.

mod choice;
mod feed;
mod fit;
pub mod issue;
mod issuer;
mod leased;
mod leases;
mod networks;
pub mod remote;
pub mod server;
mod spis;
mod store;
mod tables;
mod time;
pub mod writer;

pub use feed::{Changes, Said};
pub use issue::{Grant, IssueError, IssueRequest, Pool, Revoke};
pub use leased::{Lease, Wanted};
pub use leases::Family;
pub use store::{OpenError, Store};
pub use writer::{Clock, Directory, Frame, Load, RevokeError, Watch, WatchError};
