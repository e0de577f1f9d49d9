//! What concerns the host: which traffic goes through the tunnel, and where the HAC is asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use hearth_config::{ConfigError, Document, Spanned};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Raw;

pub(super) fn routes(file: &Document<Raw>) -> Result<Vec<IpNet>, ConfigError> {
    let Some(list) = &file.value.routes else {
        let v6 = Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0).ok().map(IpNet::V6);
        let v4 = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).ok().map(IpNet::V4);
        return Ok(v6.into_iter().chain(v4).collect());
    };
    prefixes(file, list, "routes")
}

pub(super) fn exclude(file: &Document<Raw>) -> Result<Vec<IpNet>, ConfigError> {
    let list = &file.value.exclude;
    let prefixes = prefixes(file, list, "exclude")?;
    if let Some(index) = list.iter().position(|prefix| prefix.value.prefix_len() == 0)
        && let Some(prefix) = list.get(index)
    {
        let what = "that is everything; name under `routes` what the tunnel is for";
        return Err(file.error(prefix.referenced, format!("exclude[{index}]"), what));
    }
    Ok(prefixes)
}

fn prefixes(
    file: &Document<Raw>,
    list: &[Spanned<IpNet>],
    key: &str,
) -> Result<Vec<IpNet>, ConfigError> {
    let mut prefixes: Vec<IpNet> = Vec::new();
    for (index, prefix) in list.iter().enumerate() {
        let wrong =
            |what: String| Err(file.error(prefix.referenced, format!("{key}[{index}]"), what));
        let net = prefix.value;
        if net.trunc() != net {
            return wrong(format!("has bits behind the prefix; {} would be right", net.trunc()));
        }
        if prefixes.contains(&net) {
            return wrong("stands twice".to_owned());
        }
        prefixes.push(net);
    }
    Ok(prefixes)
}

/// The name with SRV records. They say addresses and port, so YAML does not.
pub(super) fn srv(file: &Document<Raw>) -> Result<Option<String>, ConfigError> {
    let hac = &file.value.hac;
    let Some(srv) = &hac.srv else { return Ok(None) };
    let wrong = |what: &str| Err(file.error(srv.referenced, "hac.srv", what));
    if !hac.addresses.is_empty() || hac.port.is_some() {
        return wrong("the records name addresses and port; leave `addresses` and `port` out");
    }
    let name = srv.value.trim_end_matches('.');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.is_ascii();
    if name.len() > 253 || !name.contains('.') || !name.split('.').all(is_label) {
        return wrong("not a DNS name; as in _hac._tcp.example.net");
    }
    Ok(Some(name.to_owned()))
}
