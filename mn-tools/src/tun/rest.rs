//! The tunnel rests while the node is at home.

use std::io;

use super::{Tun, rules};

impl Tun {
    /// Takes home addresses and rules away: packets go by the home link, as those of any host there.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn rest(&mut self) -> io::Result<()> {
        let Some(addresses) = self.current.take() else { return Ok(()) };
        let kept = rules(&self.layout, None);
        for stale in self.rules.iter().filter(|old| !kept.contains(old)) {
            self.netlink.delete_rule(stale)?;
        }
        self.rules = kept;
        for home in addresses.homes() {
            self.netlink.delete_address(self.index, home)?;
        }
        self.resting = Some(addresses);
        Ok(())
    }

    /// Puts back what [`Self::rest`] took away.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn wake(&mut self) -> io::Result<()> {
        match self.resting.take() {
            Some(addresses) => self.configure(&addresses),
            None => Ok(()),
        }
    }
}
