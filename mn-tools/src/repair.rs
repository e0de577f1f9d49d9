//! Notes of what was changed of the host, so that the next start can put it back after a SIGKILL.
//!
//! The TUN, its addresses and its routes go with the process. Rules, unreachable routes and DNS
//! servers stay. The notes lie under /run: what they are about does not outlive a power loss either.

use std::io;

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::claim::ClaimError;
use crate::host_dns::Manager;
use crate::lan::{self, LanAddress};
use crate::place::Place;
use crate::tun::{self, CreateError};

/// What a node changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// The TUN device.
    pub tun: String,
    /// Routing table and first rule.
    pub table: u32,
    /// Mobile network prefixes, unreachable where no link of ours has them.
    pub networks: Vec<Ipv6Net>,
    /// Addresses set in them.
    #[serde(default)]
    pub lan: Vec<LanAddress>,
    /// Who was told of DNS servers.
    pub dns: Option<Manager>,
}

impl Notes {
    /// Writes them down. Without notes a node runs as well, so that is only told.
    pub fn write(&self, place: &Place) {
        let file = place.notes();
        let written = place.prepare().and_then(|()| {
            let draft = file.with_extension("new");
            std::fs::write(&draft, serde_json::to_vec(self)?)?;
            std::fs::rename(&draft, &file)
        });
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "no notes of what is changed here");
        }
    }

    /// What an earlier node left at this place, if it left anything.
    #[must_use]
    pub fn read(place: &Place) -> Option<Self> {
        let octets = std::fs::read(place.notes()).ok()?;
        serde_json::from_slice(&octets)
            .inspect_err(|error| {
                tracing::warn!(file = %place.notes().display(), %error, "notes that can't be read");
            })
            .ok()
    }

    /// All is put back.
    pub fn remove(place: &Place) {
        let _ = std::fs::remove_file(place.notes());
    }

    /// Has the host's DNS servers be what they were before.
    pub fn restore_dns(&self) {
        let Some(manager) = self.dns else { return };
        if let Err(error) = manager.restore(&self.tun) {
            // systemd-resolved has forgotten a link that is gone.
            tracing::debug!(%error, "DNS servers");
        }
    }

    /// Puts back what they are about. The caller knows that no node runs at this place.
    ///
    /// # Errors
    /// As the kernel says. That another node has these numbers now is no error: it has put them in
    /// order.
    pub fn put_back(&self) -> io::Result<()> {
        self.restore_dns();
        lan::take_away(&self.lan)?;
        match tun::clean(self.table, &self.networks) {
            Ok(()) | Err(CreateError::Claim(ClaimError::Taken { .. })) => Ok(()),
            Err(CreateError::Claim(ClaimError::System(error)) | CreateError::Device(error)) => {
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written_and_damage_is_no_notes() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::in_folder(folder.path());
        assert_eq!(Notes::read(&place), None);
        let notes = Notes {
            tun: "hearth0".to_owned(),
            table: 6618,
            networks: vec!["2001:db8:200::/56".parse().unwrap()],
            lan: vec![LanAddress {
                interface: "lan0".to_owned(),
                address: "2001:db8:200:1::1/64".parse().unwrap(),
            }],
            dns: Some(Manager::Resolvconf),
        };
        notes.write(&place);
        assert_eq!(Notes::read(&place), Some(notes));
        // A power loss leaves any part of them.
        let whole = std::fs::read(place.notes()).unwrap();
        for length in 0..whole.len() {
            std::fs::write(place.notes(), &whole[..length]).unwrap();
            assert_eq!(Notes::read(&place), None, "{length} octets");
        }
        Notes::remove(&place);
        assert!(!place.notes().exists());
    }

    proptest::proptest! {
        /// Notes in which anything stands are none, or some that can be written again.
        #[test]
        fn damaged_notes_are_none_or_whole(
            changes in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()),
                1..6,
            ),
        ) {
            let mut octets = br#"{"tun":"hearth0","table":6618,"networks":["2001:db8:200::/56"],"lan":
                [{"interface":"lan0","address":"2001:db8:200:1::1/64"}],"dns":"Resolvconf"}"#.to_vec();
            for (place, octet) in changes {
                let place = place.index(octets.len());
                octets[place] = octet;
            }
            let folder = tempfile::tempdir().unwrap();
            let place = Place::in_folder(folder.path());
            std::fs::write(place.notes(), &octets).unwrap();
            if let Some(notes) = Notes::read(&place) {
                notes.write(&place);
                assert_eq!(Notes::read(&place), Some(notes));
            }
        }
    }
}
