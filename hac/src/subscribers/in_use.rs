//! Home addresses that somebody has SAs with: none is given to another one in silence.

use std::fmt;
use std::net::IpAddr;
use std::sync::Weak;

use hearth_wire::MobileNodeId;
use tracing::error;

use super::claims::fixed;
use crate::config::Subscriber;
use crate::directory::Directory;

/// Where it is known who uses which address.
pub(super) struct InUse(Weak<Directory>);

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InUse").finish()
    }
}

impl InUse {
    pub(super) fn of(directory: Weak<Directory>) -> Self {
        Self(directory)
    }

    /// What is fixed for `subscriber`, was not for `former`, and is leased to somebody else who has SAs
    /// with it and does not leave with the same change: the key, and words.
    pub(super) fn conflict(
        &self,
        mn_id: &MobileNodeId,
        subscriber: &Subscriber,
        former: Option<&Subscriber>,
        leaves: &dyn Fn(&str) -> bool,
    ) -> Option<(&'static str, String)> {
        let directory = self.0.upgrade()?;
        let known = |address| former.is_some_and(|former| fixed(former).any(|it| it == address));
        fixed(subscriber).filter(|address| !known(*address)).find_map(|address| {
            let words = match directory.user(address) {
                Ok(None) => return None,
                Ok(Some((holder, _))) if *holder == *mn_id.as_str() || leaves(&holder) => {
                    return None;
                }
                Ok(Some((holder, sas))) => words(address, &holder, sas),
                Err(error) => {
                    error!(%error, "the store can't be read");
                    format!("{address}: whether it is leased can't be read; the log says why")
                }
            };
            let key = if address.is_ipv6() { "home_address_ip6" } else { "home_address_ip4" };
            Some((key, words))
        })
    }
}

fn words(address: IpAddr, holder: &str, sas: usize) -> String {
    let count = if sas == 1 { "SA" } else { "SAs" };
    format!(
        "{address} is leased to {holder} ({sas} {count}); give that one another address first, or choose \
         another one here"
    )
}
