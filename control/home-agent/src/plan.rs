//! What was decided about a Binding Update: a plan, or a refusal.
//!
//! Read first: RFC 6275 s.10.3.1; RFC 5648 s.6.2; RFC 5555 s.4.5.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use hearth_wire::mh::{Bid, Ipv4Ack, Status};
use ipnet::IpNet;

use crate::binding::{Binding, More};
use crate::dsmipv6::Ipv4Grant;
use crate::endpoint::Endpoint;
use crate::flows::{FlowAnswer, FlowPlan};
use crate::mcoa::{CareOfAddress, CareOfPlan, RefusedBids};
use crate::registration::Request;

/// An accepted Binding Update: everything is decided and nothing is changed. It holds no place of
/// anything, so that it can wait, and `HomeAgent::commit` looks again at what may have changed
/// meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    pub(crate) change: Change,
    pub(crate) ipv4: Ipv4Plan,
    /// What the binding is to have beside.
    pub(crate) more: Option<Box<More>>,
    /// What the answer says beside.
    pub(crate) answers: Option<Box<Answers>>,
}

/// What an answer says beside its status, and of whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// The Binding IDs whose lifetime begins anew.
    pub(crate) renewed: Vec<u16>,
    /// Status 4, where some Binding Identifiers were refused.
    pub(crate) status: Option<Status>,
    pub(crate) bids: Vec<Bid>,
    pub(crate) flows: Vec<FlowAnswer>,
}

impl Answers {
    /// In a box, if there is anything to put into it; and the care-of addresses.
    pub(crate) fn of(
        care_of: CareOfPlan,
        flows: Vec<FlowAnswer>,
    ) -> (Vec<CareOfAddress>, Option<Box<Self>>) {
        let CareOfPlan { after, renewed, status, bids } = care_of;
        let says_more = !bids.is_empty() || !flows.is_empty();
        (after, says_more.then(|| Box::new(Self { renewed, status, bids, flows })))
    }
}

impl Plan {
    pub(crate) fn new(
        request: &Request,
        prefixes: Prefixes,
        ipv4: Ipv4Plan,
        (care_of, flows): (CareOfPlan, FlowPlan),
    ) -> Self {
        let Prefixes { mobile_router, prefixes } = prefixes;
        let (after, answers) = Answers::of(care_of, flows.answers);
        let more = More { mobile_router, prefixes, care_of: after, flows: flows.after }.boxed();
        Self { request: request.clone(), change: Change::Register, ipv4, more, answers }
    }

    /// Whether data is to go to an address or port that it does not go to yet.
    pub(crate) fn moves(&self, own: &Binding) -> bool {
        let is_new = |care_of: Endpoint| own.ways().all(|(.., known)| known != care_of);
        match &self.more {
            Some(more) if !more.care_of.is_empty() => {
                more.care_of.iter().any(|care_of| is_new(care_of.address))
            }
            _ => is_new(self.request.care_of.address.into()),
        }
    }

    /// Whether it changes nothing of `own` for the dataplane or any table here.
    pub(crate) fn changes_only_time_of(&self, own: &Binding) -> bool {
        own.care_of == self.care_of()
            && own.local == self.request.local.into()
            && own.ipv4_home_address == self.ipv4.bound()
            && own.more == self.more
    }

    /// The care-of addresses.
    pub(crate) fn care_of_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let many = self.more.as_ref().map_or(&[][..], |more| &more.care_of);
        let only = many.is_empty().then(|| self.request.care_of.address.ip());
        let many = many.iter().map(|care_of| SocketAddr::from(care_of.address).ip());
        only.into_iter().chain(many)
    }

    /// The care-of address that is preferred.
    pub(crate) fn care_of(&self) -> Endpoint {
        let many = self.more.as_ref().map_or(&[][..], |more| &more.care_of);
        let only = || self.request.care_of.address.into();
        many.first().map_or_else(only, |first| first.address)
    }

    /// Whether `address` is in a mobile network that the binding is to have.
    pub(crate) fn is_in_own_network(&self, address: IpAddr) -> bool {
        let prefixes = self.more.as_ref().map_or(&[][..], |more| &more.prefixes);
        prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// Why a Binding Update changes nothing, to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    /// Binding Identifiers, where not all have the same status.
    pub(crate) bids: Option<Vec<Bid>>,
    /// The care-of address has moved too often of late.
    pub(crate) moves_too_often: bool,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self { status, bids: None, moves_too_often: false }
    }
}

impl From<RefusedBids> for Refused {
    fn from((status, bids): RefusedBids) -> Self {
        Self { status, bids, moves_too_often: false }
    }
}

/// The mobile networks that a registration is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    pub(crate) mobile_router: bool,
    pub(crate) prefixes: Vec<IpNet>,
}

/// What an accepted Binding Update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing but the time changes, neither for the dataplane nor for any table here.
    Refresh,
    /// A first registration or a move.
    Register,
    /// Lifetime 0.
    Deregister,
    /// Lifetime 0 of some of several care-of addresses.
    Withdraw,
}

/// What becomes of the IPv4 home address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ipv4Plan {
    /// What the option gets; without the option nothing is, or stays, bound.
    pub(crate) grant: Option<Ipv4Grant>,
    /// The assigned address, where another mobile node has it bound.
    pub(crate) taken: Option<Ipv4Addr>,
}

impl Ipv4Plan {
    pub(crate) fn bound(&self) -> Option<Ipv4Addr> {
        self.grant.and_then(|grant| grant.home_address)
    }

    pub(crate) fn ack(&self) -> Option<Ipv4Ack> {
        self.grant.map(|grant| grant.ack)
    }
}
