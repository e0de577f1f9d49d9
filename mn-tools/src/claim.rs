//! Which numbers of routing tables, marks and rules belong to a running node.
//!
//! Two nodes in one network namespace must not share any: the second would take the rules of the
//! first for what a killed node left. A node therefore listens on an abstract Unix socket for each
//! of its numbers. Such names belong to the network namespace, as rules do, and go with the
//! process, however it ends.

use std::io;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Keeps other nodes away from a range of numbers until it is dropped.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "only held")] Vec<UnixListener>);

/// Why numbers can't be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another process has them.
    #[error(
        "process {pid} runs here with table {number}: it is a mobile node already; end it, or give \
         this one a `table` and a `tun` of its own in its YAML file"
    )]
    Taken {
        /// The first number that is taken.
        number: u32,
        /// Who has it.
        pid: u32,
    },
    /// As the kernel says.
    #[error("the routing table's number can't be claimed: {0}")]
    System(#[from] io::Error),
}

impl Claim {
    /// Claims `numbers` in this network namespace.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn new(numbers: Range<u32>) -> Result<Self, ClaimError> {
        numbers.map(claim).collect::<Result<_, _>>().map(Self)
    }
}

fn claim(number: u32) -> Result<UnixListener, ClaimError> {
    let address = SocketAddr::from_abstract_name(format!("hearth-mn/table/{number}"))?;
    match UnixListener::bind_addr(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let owner = UnixStream::connect_addr(&address)?;
            let owner = rustix::net::sockopt::socket_peercred(&owner).map_err(io::Error::from)?;
            let pid = owner.pid.as_raw_nonzero().get().unsigned_abs();
            Err(ClaimError::Taken { number, pid })
        }
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_claimed_once_and_come_back() {
        // Of no other test's, and of no node's.
        let claim = Claim::new(40_000..40_007).unwrap();
        let Err(ClaimError::Taken { number, pid }) = Claim::new(39_995..40_002) else {
            panic!("claimed twice")
        };
        assert_eq!((number, pid), (40_000, std::process::id()));
        assert!(Claim::new(39_993..40_000).is_ok());
        drop(claim);
        assert!(Claim::new(40_000..40_007).is_ok());
    }
}
