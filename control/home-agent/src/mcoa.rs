//! Several care-of addresses of one mobile node: what becomes of Binding Identifiers.
//!
//! Read first: RFC 5648 s.4, 6.2, 8.1; RFC 6089 s.4.1; readings.
//!
//! | of the whole Binding Update | of one Binding Identifier |
//! |---|---|
//! | 166: the subscriber may have one care-of address | 164: its address is not unicast, it is 0 or stands twice |
//! | 164: an option of a wrong length | 167: no address, and none is registered |
//! | 168: more than one, and the subscriber may not | 168: an IPv4 address that has not come by itself first |
//! | 165: a binding without Binding Identifiers, and O is 0 | 169: at home, which is not served besides being abroad |
//! | | 174: it leads back here; 130: one too many; 133: none to be removed |
//!
//! All care-of addresses share one SA: under R-15 a Binding Update under a newer one retires the
//! older, whatever path it came by. The replay window carries what the paths differ by in time.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hearth_wire::directory::Services;
use hearth_wire::mh::{Bid, BuOptions, Status};

use crate::HomeAgent;
use crate::binding::Binding;
use crate::dsmipv6;
use crate::endpoint::Endpoint;
use crate::event::{Action, Notice};
use crate::policy::Policy;
use crate::slab::Id;
use crate::time::Timestamp;
use crate::tunnels::Tunnel;

/// One care-of address of several (RFC 5648 s.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CareOfAddress {
    /// Never 0.
    pub(crate) bid: u16,
    /// BID-PRI; [`Tunnel::NO_PRIORITY`] where there is none.
    pub(crate) priority: u8,
    /// Whether a NAT was found; `None` where none was looked for.
    pub(crate) nat: Option<bool>,
    /// The lifetime granted, in units of 4 s.
    pub(crate) units: u16,
    /// The address, and the port that data goes to.
    pub(crate) address: Endpoint,
    /// The HA address and port that data comes from.
    pub(crate) local: Endpoint,
    /// Where it has not been committed yet, what it was before.
    pub(crate) expires: Timestamp,
}

impl CareOfAddress {
    /// Its Binding Identifier, in a message that says no more of it.
    pub(crate) fn option(&self) -> Bid {
        let status = Status::ACCEPTED;
        Bid { id: self.bid, status, home: false, priority: 0, care_of: None }
    }

    fn ip(&self) -> IpAddr {
        SocketAddr::from(self.address).ip()
    }
}

/// What becomes of the care-of addresses of a binding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CareOfPlan {
    /// All of them from now on, the one to be preferred first.
    pub(crate) after: Vec<CareOfAddress>,
    /// The Binding IDs whose lifetime begins anew.
    pub(crate) renewed: Vec<u16>,
    /// Status of the answer: 0, or 4 where some were refused.
    pub(crate) status: Option<Status>,
    /// The options of the answer.
    pub(crate) bids: Vec<Bid>,
}

/// A refusal, and what it says of each Binding Identifier; nothing where the message's status says
/// all.
pub(crate) type RefusedBids = (Status, Option<Vec<Bid>>);

/// A Binding Update with Binding Identifiers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The options as they are copied into the answer.
    pub(crate) bids: &'a [Bid],
    /// O: what is registered is replaced.
    pub(crate) overwrite: bool,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) ha_address: Ipv6Addr,
    /// `nat66: follow_source`.
    pub(crate) follow_source6: bool,
}

/// The options of a message, as an answer copies them: "except the Status field. The Care-of
/// Address field in each Binding Identifier mobility option, however, MAY be omitted" (RFC 5648
/// s.6.2). Of a malformed one the Binding ID is what there is.
pub(crate) fn copied(options: &BuOptions<'_>) -> Box<[Bid]> {
    let status = Status::ACCEPTED;
    let bid = |option: Result<Bid, hearth_wire::mh::MalformedBid>| match option {
        Ok(bid) => Bid { status, ..bid },
        Err(malformed) => {
            let id = malformed.id.unwrap_or(0);
            Bid { id, status, home: false, priority: 0, care_of: None }
        }
    };
    options.bids.iter().map(bid).collect()
}

/// The checks that come before any Binding Identifier is looked at. `plain`: a binding without
/// Binding Identifiers is there.
pub(crate) fn may_register(
    asked: &Asked<'_>,
    options: &BuOptions<'_>,
    services: Option<&Services>,
    plain: bool,
) -> Result<(), Status> {
    let Some(services) = services.filter(|services| services.care_of_addresses > 1) else {
        return Err(Status::MCOA_PROHIBITED);
    };
    if options.bids.iter().any(|bid| bid.is_err()) {
        return Err(Status::MCOA_MALFORMED);
    }
    if asked.bids.len() > 1 && !services.bulk {
        return Err(Status::MCOA_BULK_PROHIBITED);
    }
    // "If the 'O' flag is unset in the Binding Update and the receiver has a regular binding that
    // does not have a BID for the mobile node, it must not process the Binding Update."
    if plain && !asked.overwrite {
        return Err(Status::MCOA_NON_MCOA_BINDING_EXISTS);
    }
    Ok(())
}

impl Asked<'_> {
    /// Registers care-of addresses beside `existing` ones, `most` in all; `is_invalid` are those
    /// that would lead back here.
    pub(crate) fn register(
        &self,
        existing: &[CareOfAddress],
        most: u8,
        is_invalid: impl Fn(IpAddr) -> bool,
    ) -> Result<CareOfPlan, RefusedBids> {
        let mut plan = CareOfPlan::default();
        if !self.overwrite {
            plan.after.extend_from_slice(existing);
        }
        let mut answers = Vec::with_capacity(self.bids.len());
        for bid in self.bids {
            let there = existing.iter().find(|there| there.bid == bid.id);
            let placed = self.place(bid, there).and_then(|placed| {
                if plan.renewed.contains(&bid.id) {
                    return Err(Status::MCOA_MALFORMED);
                }
                if is_invalid(placed.ip()) {
                    return Err(Status::INVALID_COA);
                }
                if let Some(known) = plan.after.iter_mut().find(|known| known.bid == bid.id) {
                    *known = placed;
                } else if plan.after.len() < usize::from(most) {
                    plan.after.push(placed);
                } else {
                    return Err(Status::INSUFFICIENT_RESOURCES);
                }
                plan.renewed.push(bid.id);
                Ok(())
            });
            answers.push(Bid { status: placed.err().unwrap_or(Status::ACCEPTED), ..*bid });
        }
        plan.after.sort_unstable_by_key(|care_of| (care_of.priority, care_of.bid));
        plan.sum_up(answers)
    }

    /// Removes care-of addresses from `existing` ones: "If the 'O' flag is set in the
    /// de-registering Binding Update, it is ignored."
    pub(crate) fn deregister(&self, existing: &[CareOfAddress]) -> Result<CareOfPlan, RefusedBids> {
        let mut plan = CareOfPlan { after: existing.to_vec(), ..CareOfPlan::default() };
        let mut answers = Vec::with_capacity(self.bids.len());
        for bid in self.bids {
            let at = plan.after.iter().position(|there| there.bid == bid.id);
            let status = at.map_or(Status::NOT_HOME_AGENT, |_| Status::ACCEPTED);
            if let Some(at) = at {
                plan.after.remove(at);
            }
            answers.push(Bid { status, ..*bid });
        }
        plan.sum_up(answers)
    }

    /// The care-of address of one Binding Identifier; `there` is what is registered.
    fn place(&self, bid: &Bid, there: Option<&CareOfAddress>) -> Result<CareOfAddress, Status> {
        if bid.home {
            return Err(Status::MCOA_HOME_AND_FOREIGN_PROHIBITED);
        }
        let ip = match (bid.care_of, there) {
            (Some(ip), _) => ip,
            (None, Some(there)) => there.ip(),
            (None, None) => return Err(Status::MCOA_UNKNOWN_COA),
        };
        if bid.id == 0 || !dsmipv6::is_routable(ip) {
            return Err(Status::MCOA_MALFORMED);
        }
        let (address, local, nat) = self.path(bid, ip, there)?;
        Ok(CareOfAddress {
            bid: bid.id,
            // RFC 6089 s.4.1: "Value '0' is reserved"; it is what RFC 5648 alone has there.
            priority: if bid.priority == 0 { Tunnel::NO_PRIORITY } else { bid.priority },
            nat,
            units: there.map_or(0, |there| there.units),
            address,
            local,
            expires: there.map_or(Timestamp::ZERO, |there| there.expires),
        })
    }

    /// Where data for `ip` goes to and comes from, and whether there is a NAT.
    fn path(
        &self,
        bid: &Bid,
        ip: IpAddr,
        there: Option<&CareOfAddress>,
    ) -> Result<(Endpoint, Endpoint, Option<bool>), Status> {
        let (source, single) = (self.remote.ip(), self.bids.len() == 1);
        let registered = there.filter(|there| there.ip() == ip);
        let follows = ip.is_ipv4() || self.follow_source6;
        // RFC 5648 s.8.1: "If the IPv4 address in the Binding Identifier mobility option is
        // different from one in the Source Address field in the IPv4 header of the Binding Update
        // [...], the source address is used as an IPv4 care-of address."
        if follows && single && ip.is_ipv4() == source.is_ipv4() {
            let nat = match (bid.care_of, registered) {
                (None, Some(there)) if ip == source => there.nat,
                _ => Some(bid.care_of != Some(source)),
            };
            return Ok((self.remote.into(), self.local.into(), nat));
        }
        if ip == source && (ip.is_ipv6() || registered.is_some()) {
            let nat = registered.and_then(|there| there.nat);
            return Ok((self.remote.into(), self.local.into(), nat));
        }
        if ip.is_ipv4() {
            // "Bulk registration MUST NOT be used for the initial binding registration from an IPv4
            // care-of address"; "the IPv4 care-of address must be registered by a non-bulk binding
            // registration whenever it is changed."
            let stays = |there: &&CareOfAddress| bid.care_of.is_none() || there.nat == Some(false);
            let there = registered.filter(stays).ok_or(Status::MCOA_BULK_PROHIBITED)?;
            return Ok((there.address, there.local, there.nat));
        }
        if let Some(there) = registered {
            return Ok((there.address, there.local, there.nat));
        }
        let local = match self.local {
            SocketAddr::V6(_) => self.local,
            SocketAddr::V4(local) => (self.ha_address, local.port()).into(),
        };
        Ok((SocketAddr::new(ip, self.remote.port()).into(), local.into(), None))
    }
}

impl CareOfPlan {
    /// "If the status value is specific to one of the bindings in the bulk registration, the status
    /// value MUST be stored in the Status field in the corresponding Binding Identifier mobility
    /// option. In this case, the Status field of the Binding Acknowledgement MUST be set to [MCOA
    /// NOTCOMPLETE]". Where nothing at all was accepted it would be a lie: the message then carries
    /// the status of the first, and options that differ from it their own.
    fn sum_up(mut self, mut answers: Vec<Bid>) -> Result<Self, RefusedBids> {
        let refused = answers.iter().filter(|bid| bid.status != Status::ACCEPTED).count();
        if let Some(first) = answers.first().map(|first| first.status)
            && refused == answers.len()
        {
            for bid in &mut answers {
                if bid.status == first {
                    bid.status = Status::ACCEPTED;
                }
            }
            return Err((first, Some(answers)));
        }
        self.status = (refused > 0).then_some(Status::MCOA_NOT_COMPLETE);
        self.bids = answers;
        Ok(self)
    }
}

/// Whether a NAT is on the path that a Binding Update with Binding Identifiers came by; `None`
/// where none is looked for.
pub(crate) fn nat_on_path(
    remote: SocketAddr,
    bids: &[Bid],
    existing: &[CareOfAddress],
    policy: &Policy,
) -> Option<bool> {
    if remote.is_ipv6() && !policy.nat66_follow_source {
        return None;
    }
    let names_it = |bid: &Bid| match bid.care_of {
        Some(ip) => ip == remote.ip(),
        None => existing.iter().any(|there| {
            there.bid == bid.id && there.ip() == remote.ip() && there.nat == Some(false)
        }),
    };
    Some(!bids.iter().any(names_it))
}

impl HomeAgent {
    /// Takes care-of addresses whose lifetime has ended out of a binding that has others.
    pub(crate) fn settle_care_of(
        &mut self,
        now: Timestamp,
        id: Id<Binding>,
        out: &mut Vec<Action>,
    ) {
        let Some(binding) = self.cache.at(id) else { return };
        if binding.next_care_of_end().is_none_or(|end| end > now) {
            return;
        }
        let over = |care_of: &&CareOfAddress| care_of.expires <= now;
        let gone: Vec<u16> =
            binding.care_of_addresses().iter().filter(over).map(|gone| gone.bid).collect();
        let home_address = binding.home_address;
        self.drop_care_of(id, &gone, out);
        let ended = |bid| Action::Notice(Notice::CareOfEnded { home_address, bid });
        out.extend(gone.into_iter().map(ended));
    }

    /// Takes care-of addresses out of a binding that has others.
    pub(crate) fn drop_care_of(&mut self, id: Id<Binding>, gone: &[u16], out: &mut Vec<Action>) {
        let Some(binding) = self.cache.at_mut(id) else { return };
        let Some(more) = &mut binding.more else { return };
        if !more.care_of.iter().any(|care_of| gone.contains(&care_of.bid)) {
            return;
        }
        more.care_of.retain(|care_of| !gone.contains(&care_of.bid));
        let Some(first) = more.care_of.first() else { return };
        binding.care_of = first.address;
        let last = more.care_of.iter().map(|care_of| care_of.expires).max();
        binding.expires = last.map_or(binding.expires, |last| last.min(binding.expires));
        let home_address = binding.home_address;
        self.rebind(home_address, out);
    }
}
