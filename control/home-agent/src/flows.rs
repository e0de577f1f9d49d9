//! Flow bindings: which packets go to which care-of addresses.
//!
//! Read first: RFC 6089 s.4.2, 4.3, 5.3; RFC 6088 s.3.
//!
//! A Binding Update that is accepted names all flow bindings that there are to be, in full (Flow
//! Identification) or by number (Flow Summary); the others go. What is wrong with one is said of that
//! one, and it stays as it was.
//!
//! | status | of a Flow Identification option |
//! |---|---|
//! | 128 | the subscriber may have none, or no more, or not so many care-of addresses for one flow |
//! | 129 | its Flow Identifier stands twice in the message, or its priority is another one's |
//! | 130 | malformed; new, and without traffic selector or binding reference |
//! | 131 | a Binding ID that is not registered |
//! | 132 | of a Flow Summary: there is no such flow binding |
//! | 133 | another traffic selector than those of RFC 6088 |

use hearth_wire::mh::{BuOptions, Flow, FlowStatus, Ids, MalformedFlow, Selector, TrafficSelector};

use crate::binding::Binding;
use crate::mcoa::CareOfAddress;
use crate::tunnels::FlowRule;

/// Most care-of addresses that get a copy of each packet of a flow. It bounds what one packet can
/// become.
const MOST_COPIES: usize = 4;

/// FID-PRI in the answer to a Flow Summary, which names none: the last one.
const NO_PRIORITY: u16 = u16::MAX;

/// A flow binding (RFC 6089 s.4.3). It is active while one of its Binding IDs is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowBinding {
    pub(crate) id: u16,
    /// FID-PRI; no two of a binding have the same.
    pub(crate) priority: u16,
    pub(crate) selector: TrafficSelector,
    /// At least one, [`MOST_COPIES`] at most.
    pub(crate) bids: Box<[u16]>,
}

impl FlowBinding {
    /// Its Binding IDs that are registered.
    pub(crate) fn active<'a>(
        &'a self,
        care_of: &'a [CareOfAddress],
    ) -> impl Iterator<Item = u16> + 'a {
        let is_there = |bid: &u16| care_of.iter().any(|it| it.bid == *bid);
        self.bids.iter().copied().filter(is_there)
    }
}

impl Binding {
    /// Its flow bindings, by growing priority.
    pub(crate) fn flows(&self) -> &[FlowBinding] {
        self.more.as_ref().map_or(&[], |more| &more.flows)
    }

    /// Those that are active, as the dataplane needs them: "if none of the BIDs pointed to in a flow
    /// binding entry is valid, then the entry is considered to be inactive [...] and is skipped."
    pub(crate) fn flow_rules(&self) -> impl Iterator<Item = FlowRule> + '_ {
        let rule = |flow: &FlowBinding| FlowRule {
            priority: flow.priority,
            selector: flow.selector,
            tunnels: flow.active(self.care_of_addresses()).collect(),
        };
        self.flows().iter().map(rule).filter(|rule| !rule.tunnels.is_empty())
    }
}

/// What becomes of the flow bindings of a mobile node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlowPlan {
    /// All of them from now on, by growing priority.
    pub(crate) after: Vec<FlowBinding>,
    pub(crate) answers: Vec<FlowAnswer>,
}

/// A Flow Identification option of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowAnswer {
    id: u16,
    priority: u16,
    pub(crate) status: FlowStatus,
    bids: Box<[u16]>,
    selector: Option<Asked>,
}

/// The traffic selector that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Binary(TrafficSelector),
    Other { format: u8, octets: Box<[u8]> },
}

impl FlowAnswer {
    /// "the home agent SHOULD copy each flow identification mobility option received in the binding
    /// update and set its status code" (RFC 6089 s.5.3.5).
    fn to(option: Result<Flow<'_>, MalformedFlow>, status: FlowStatus) -> Option<Self> {
        match option {
            Ok(flow) => Some(Self {
                id: flow.id,
                priority: flow.priority,
                status,
                bids: flow.bids.iter().collect(),
                selector: flow.selector.map(|selector| match selector {
                    Selector::Binary(selector) => Asked::Binary(selector),
                    Selector::Other { format, octets } => {
                        Asked::Other { format, octets: octets.into() }
                    }
                }),
            }),
            // What is not whole is not copied; without a number there is nobody to be told.
            Err(malformed) => malformed.id.map(|(id, priority)| Self::about(id, priority, status)),
        }
    }

    fn about(id: u16, priority: u16, status: FlowStatus) -> Self {
        Self { id, priority, status, bids: Box::default(), selector: None }
    }

    /// The option, as long as it came, or without what the mobile node knows itself.
    pub(crate) fn option(&self, whole: bool) -> Flow<'_> {
        let selector = self.selector.as_ref().map(|selector| match selector {
            Asked::Binary(selector) => Selector::Binary(*selector),
            Asked::Other { format, octets } => Selector::Other { format: *format, octets },
        });
        Flow {
            id: self.id,
            priority: self.priority,
            status: self.status,
            bids: if whole { Ids::List(&self.bids) } else { Ids::default() },
            selector: selector.filter(|_| whole),
        }
    }
}

/// Processes the flow options of a Binding Update that is accepted otherwise, `care_of` being what
/// is registered then: "Home agents [...] MUST logically process BID options first." `most` flow
/// bindings may be there.
pub(crate) fn judge(
    existing: &[FlowBinding],
    options: &BuOptions<'_>,
    care_of: &[CareOfAddress],
    most: u8,
) -> FlowPlan {
    let mut plan = FlowPlan::default();
    let asked: Vec<_> = options.flows.iter().collect();
    if most == 0 {
        let no = FlowStatus::ADMINISTRATIVELY_PROHIBITED;
        plan.answers.extend(asked.iter().filter_map(|option| FlowAnswer::to(*option, no)));
        return plan;
    }
    let named: Vec<u16> = asked.iter().filter_map(id_of).collect();
    plan.keep(existing, options, &named);
    // "If more than one flow identification mobility option in the same BU has the same value in the
    // FID field, all the flow identification mobility options MUST be rejected."
    let twice = is_twice(&named);
    for option in asked {
        let there = id_of(&option).and_then(|id| existing.iter().find(|there| there.id == id));
        let wanted = match option {
            _ if twice => Err(FlowStatus::REASON_UNSPECIFIED),
            Ok(flow) => changed(&flow, there, care_of),
            Err(_) => Err(FlowStatus::MALFORMED),
        };
        let done = wanted.and_then(|flow| plan.enter(flow, most));
        // What is named goes on, as it was.
        if let (Err(_), Some(there)) = (done, there) {
            let _priority_taken = plan.enter(there.clone(), most);
        }
        let status = done.err().unwrap_or(FlowStatus::SUCCESS);
        plan.answers.extend(FlowAnswer::to(option, status));
    }
    plan.after.sort_unstable_by_key(|flow| flow.priority);
    plan
}

fn id_of(option: &Result<Flow<'_>, MalformedFlow>) -> Option<u16> {
    match option {
        Ok(flow) => Some(flow.id),
        Err(malformed) => malformed.id.map(|(id, _)| id),
    }
}

fn is_twice(ids: &[u16]) -> bool {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// The flow binding that an option asks for (RFC 6089 s.5.3.2.1, 5.3.2.2).
fn changed(
    flow: &Flow<'_>,
    there: Option<&FlowBinding>,
    care_of: &[CareOfAddress],
) -> Result<FlowBinding, FlowStatus> {
    let selector = match (flow.selector, there) {
        (Some(Selector::Binary(selector)), _) => selector,
        (Some(Selector::Other { .. }), _) => return Err(FlowStatus::SELECTOR_NOT_SUPPORTED),
        (None, Some(there)) => there.selector,
        (None, None) => return Err(FlowStatus::MALFORMED),
    };
    let bids = match there {
        _ if !flow.bids.is_empty() => {
            let mut bids: Vec<u16> = Vec::with_capacity(MOST_COPIES);
            for bid in flow.bids.iter() {
                if !care_of.iter().any(|it| it.bid == bid) {
                    return Err(FlowStatus::BID_NOT_FOUND);
                }
                if !bids.contains(&bid) {
                    bids.push(bid);
                }
            }
            bids.into()
        }
        Some(there) => there.bids.clone(),
        None => return Err(FlowStatus::MALFORMED),
    };
    if bids.len() > MOST_COPIES {
        return Err(FlowStatus::ADMINISTRATIVELY_PROHIBITED);
    }
    Ok(FlowBinding { id: flow.id, priority: flow.priority, selector, bids })
}

impl FlowPlan {
    /// Keeps what Flow Summaries name, and answers for what is not there. A summary that is no whole
    /// one names nothing.
    fn keep(&mut self, existing: &[FlowBinding], options: &BuOptions<'_>, named: &[u16]) {
        let summaries = options.flow_summaries.iter().flatten();
        let mut kept: Vec<u16> = summaries.flat_map(|summary| summary.flows.iter()).collect();
        // "the duplicates can be simply ignored."
        kept.sort_unstable();
        kept.dedup();
        for id in kept {
            let there = existing.iter().find(|there| there.id == id);
            match there {
                Some(_) if named.contains(&id) => {}
                Some(there) => self.after.push(there.clone()),
                None => {
                    let status = FlowStatus::FID_NOT_FOUND;
                    self.answers.push(FlowAnswer::about(id, NO_PRIORITY, status));
                }
            }
        }
    }

    /// "two FIDs MUST NOT be associated with the same FID-PRI value."
    fn enter(&mut self, flow: FlowBinding, most: u8) -> Result<(), FlowStatus> {
        if self.after.iter().any(|other| other.priority == flow.priority) {
            return Err(FlowStatus::REASON_UNSPECIFIED);
        }
        if self.after.len() >= usize::from(most) {
            return Err(FlowStatus::ADMINISTRATIVELY_PROHIBITED);
        }
        self.after.push(flow);
        Ok(())
    }
}
