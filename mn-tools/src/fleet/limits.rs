//! What this machine allows, and what the process takes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{FleetError, Plan};

/// Descriptors beside those of nodes: threads, sessions with the HAC, files.
const OTHERS: u64 = 64;

/// Makes room for the fleet's sockets, or says what stands in the way.
pub(super) fn check(plan: &Plan) -> Result<(), FleetError> {
    files(plan)?;
    ports(plan)
}

/// Seconds that a node has two sockets at most when it moves: as long as Binding Updates are repeated
/// at growing intervals (MAX_BINDACK_TIMEOUT, RFC 6275 s.12).
const TWO_SOCKETS_S: f64 = 32.0;

/// One for each node, and another for each that is moving.
pub(super) fn sockets(plan: &Plan) -> u64 {
    let nodes = plan.nodes as u64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let moving = (plan.handovers_per_second * TWO_SOCKETS_S).ceil() as u64;
    nodes + nodes.min(moving)
}

fn files(plan: &Plan) -> Result<(), FleetError> {
    let needed = sockets(plan) + u64::from(plan.bootstraps_at_once) + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let raised = [limit.maximum, maximum].into_iter().any(|maximum| {
        maximum.is_none_or(|maximum| maximum >= needed)
            && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).is_ok()
    });
    if raised {
        return Ok(());
    }
    let most = limit.maximum.unwrap_or_default();
    Err(FleetError::Limit(format!(
        "{} nodes take {needed} open files, and the limit (RLIMIT_NOFILE) is {most}: \
         `ulimit -n {needed}` as root, or fewer nodes",
        plan.nodes
    )))
}

/// Each socket has a source port of its own at its care-of address.
fn ports(plan: &Plan) -> Result<(), FleetError> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let text = text.unwrap_or_default();
    let mut bounds = text.split_whitespace().filter_map(|bound| bound.parse::<u64>().ok());
    let (Some(low), Some(high)) = (bounds.next(), bounds.next()) else { return Ok(()) };
    let ports = (high + 1).saturating_sub(low);
    let addresses = plan.care_of_addresses.len().max(1) as u64;
    let needed = sockets(plan);
    if needed <= ports * addresses {
        return Ok(());
    }
    let wanted = needed.div_ceil(ports);
    Err(FleetError::Limit(format!(
        "{} nodes take {needed} source ports, and {addresses} care-of address(es) have {ports} each \
         (net.ipv4.ip_local_port_range): give at least {wanted} care_of_addresses",
        plan.nodes
    )))
}

/// Resident memory in octets (VmRSS of proc(5)); 0 where it is not known.
pub(super) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
