//! `lab.json`: the lab, for other programs.

use serde_json::{Value, json};

use crate::{
    error::{LabError, Result},
    lab::Lab,
    plan::{
        ACCESS_ROUTER4, ACCESS_ROUTER6, CN4, CN6, HA_HOME4, HA_HOME6, HA_PORT, HA4, HA6, HAC_NAME,
        HAC_PORT, HOME_PREFIX4, HOME_PREFIX6, NAT_OUTSIDE, NAT_ROUTER, SPI_RANGE, Subscriber,
        Visited,
    },
    program::Program,
};

/// Writes it.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn write(lab: &Lab) -> Result<()> {
    let from = || "the lab's description".to_owned();
    let text = serde_json::to_string_pretty(&describe(lab))
        .map_err(|source| LabError::Json { from: from(), source })?;
    crate::config::write(&lab.options.files.description(), &(text + "\n"))
}

fn describe(lab: &Lab) -> Value {
    let files = &lab.options.files;
    let subscriber = |s: &Subscriber| {
        json!({
            "mn_id": s.mn_id, "psk_hex": s.psk,
            "home_address_ip6": s.home6, "home_address_ip4": s.home4,
            "suite": s.suite.name(), "mip6_sas": s.scope,
            "config": files.config(&format!("mn-{}", s.label())),
        })
    };
    let subscribers: Vec<Value> = lab.subscribers.iter().map(subscriber).collect();
    let pid = |program: &Option<Program>| program.as_ref().map(Program::id);
    json!({
        "namespaces": namespaces(lab),
        "home_agent": {
            "name": "lab", "ip6": HA6, "ip4": HA4, "port": HA_PORT,
            "home_prefixes": [HOME_PREFIX6, HOME_PREFIX4], "spi_range": [SPI_RANGE.0, SPI_RANGE.1],
        },
        "hac": {
            "addresses": [HA6.to_string(), HA4.to_string()], "port": HAC_PORT,
            "tls_name": HAC_NAME, "ca_file": files.ca(), "directory_socket": files.directory_socket(),
        },
        "subscribers": subscribers,
        "correspondent": { "ip6": CN6, "ip4": CN4 },
        "config_files": { "hac": files.config("hac"), "hearthd": files.config("hearthd") },
        "cli_socket": files.api_socket(),
        "log_files": { "hac": files.log_of("hac"), "hearthd": files.log_of("hearthd") },
        "processes": { "hac": pid(&lab.hac), "hearthd": pid(&lab.hearthd) },
    })
}

/// Namespaces by role, each with its interfaces and what they carry.
fn namespaces(lab: &Lab) -> Value {
    let network = &lab.network;
    let (visit6, router6) = Visited::Net6.attachment(0);
    let (visit4, router4) = Visited::Nat4.attachment(0);
    json!({
        "mobile_node": {
            "name": network.mobile_nodes.first().map(crate::netns::Netns::name),
            "interfaces": {
                "visit6": { "addresses": [visit6], "gateway": router6, "network": "net6" },
                "visit4": { "addresses": [visit4], "gateway": router4, "network": "nat4" },
            },
        },
        "net6": {
            "name": network.net6.name(),
            "interfaces": {
                "access": { "addresses": [format!("{ACCESS_ROUTER6}/64"), format!("{ACCESS_ROUTER4}/27")] },
                "visit6-0": { "addresses": [format!("{router6}/64")] },
                "wan4": { "addresses": [format!("{NAT_ROUTER}/27")] },
            },
        },
        "nat4": {
            "name": network.nat4.name(),
            "interfaces": {
                "wan4": { "addresses": [format!("{NAT_OUTSIDE}/27")], "masquerade": true },
                "visit4-0": { "addresses": [format!("{router4}/27")] },
            },
        },
        "home_agent": {
            "name": network.ha.name(),
            "interfaces": {
                "acc0": { "dpdk_port": "access" },
                "home0": { "dpdk_port": "home" },
                "access": { "addresses": [format!("{HA6}/64"), format!("{HA4}/27")], "tap": true },
                "home": { "addresses": [format!("{HA_HOME6}/64"), format!("{HA_HOME4}/27")], "tap": true },
            },
        },
        "correspondent": {
            "name": network.cn.name(),
            "interfaces": { "home": { "addresses": [format!("{CN6}/64"), format!("{CN4}/27")] } },
        },
    })
}
