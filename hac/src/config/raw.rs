//! The YAML file as serde reads it: structure and types, nothing judged yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hearth_config::Spanned;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::check::PolicyKeys;
use super::services;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) directory: Directory,
    pub(super) home_agents: Vec<HomeAgent>,
    pub(super) replica: Option<Spanned<Replica>>,
    #[serde(default)]
    pub(super) policy: Policy,
    #[serde(default)]
    pub(super) auth: super::auth::Raw,
    pub(super) radius: Option<super::radius::Raw>,
    pub(super) eap_tls: Option<super::eap_tls::Raw>,
    #[serde(default)]
    pub(super) dns: Vec<IpAddr>,
    #[serde(default)]
    pub(super) realms: Vec<OfRealm>,
    #[serde(default)]
    pub(super) subscribers: Vec<Subscriber>,
    #[serde(default)]
    pub(super) subscriber_files: Vec<PathBuf>,
    pub(super) subscriber_store: Option<Spanned<super::subscriber_store::Raw>>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) admin: Option<super::admin::Raw>,
    #[serde(default)]
    pub(super) metrics: super::metrics::Raw,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) ocsp: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) more_certificates: Vec<Certificate>,
    pub(super) unknown_name: Option<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) tls13: bool,
    pub(super) suites: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default = "yes")]
    pub(super) tickets: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) ocsp: Option<Spanned<PathBuf>>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Directory {
    pub(super) store: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) allow_uids: Vec<u32>,
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) ca: Option<Spanned<PathBuf>>,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            store: "/var/lib/hearth-hac/hac.redb".into(),
            socket: "/run/hearth/directory.sock".into(),
            allow_uids: Vec::new(),
            listen: Vec::new(),
            certificate: None,
            key: None,
            ca: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HomeAgent {
    pub(super) name: Spanned<String>,
    pub(super) ip6: Spanned<Ipv6Addr>,
    pub(super) ip4: Option<Spanned<Ipv4Addr>>,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) spi_range: Spanned<[u32; 2]>,
    pub(super) home_prefix_ip6: Spanned<String>,
    pub(super) home_prefix_ip4: Option<Spanned<String>>,
    pub(super) certificate_name: Option<String>,
    pub(super) region: Option<Spanned<String>>,
    pub(super) max_sas: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) pools: Pools,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replica {
    pub(super) index: u16,
    pub(super) of: u16,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Pools {
    pub(super) ip6: Option<Spanned<[Ipv6Addr; 2]>>,
    pub(super) ip4: Option<Spanned<[Ipv4Addr; 2]>>,
    pub(super) home_prefixes_ip6: Option<Spanned<PrefixPool>>,
    pub(super) mobile_networks_ip6: Option<Spanned<PrefixPool>>,
    pub(super) mobile_networks_ip4: Option<Spanned<PrefixPool>>,
    #[serde(default)]
    pub(super) delegated_ip6: Vec<Spanned<String>>,
    pub(super) lease_time: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefixPool {
    pub(super) within: String,
    pub(super) length: u8,
}

/// A section with the keys that say what SAs get and what their mobile nodes may, beside its own:
/// the deployment, a realm and a subscriber have the same ones.
macro_rules! with_policy {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$own_meta:meta])* $own:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $($(#[$own_meta])* pub(super) $own: $type,)*
            suites: Option<Spanned<Vec<Spanned<String>>>>,
            scope: Option<Spanned<String>>,
            sa_validity: Option<Spanned<u64>>,
            max_sas: Option<Spanned<u64>>,
            home_agent_choice: Option<Spanned<String>>,
            mobile_router: Option<Spanned<bool>>,
            care_of_addresses: Option<Spanned<u64>>,
            bulk: Option<Spanned<bool>>,
            flow_bindings: Option<Spanned<u64>>,
            multicast: Option<Spanned<bool>>,
            max_lifetime: Option<Spanned<u64>>,
        }

        impl $name {
            /// What SAs get.
            pub(super) const fn policy(&self) -> PolicyKeys<'_> {
                PolicyKeys {
                    suites: &self.suites,
                    scope: &self.scope,
                    sa_validity: &self.sa_validity,
                    max_sas: &self.max_sas,
                    home_agent_choice: &self.home_agent_choice,
                }
            }

            /// What mobile nodes may.
            pub(super) const fn services(&self) -> services::Keys<'_> {
                services::Keys {
                    mobile_router: self.mobile_router.as_ref(),
                    care_of_addresses: self.care_of_addresses.as_ref(),
                    bulk: self.bulk.as_ref(),
                    flow_bindings: self.flow_bindings.as_ref(),
                    multicast: self.multicast.as_ref(),
                    max_lifetime: self.max_lifetime.as_ref(),
                }
            }
        }
    };
}

with_policy! {
    #[derive(Default)]
    pub(super) struct Policy {}
}

with_policy! {
    /// An entry of `realms`.
    pub(super) struct OfRealm {
        realm: Spanned<String>,
        home_agent: Option<Spanned<String>>,
        region: Option<String>,
    }
}

with_policy! {
    /// An entry of `subscribers`.
    pub(crate) struct Subscriber {
        mn_id: Spanned<String>,
        psk: Option<Spanned<Psk>>,
        home_agent: Option<Spanned<String>>,
        region: Option<String>,
        home_address_ip6: Option<Spanned<String>>,
        home_address_ip4: Option<Spanned<String>>,
        #[serde(default)]
        prefixes: Vec<Spanned<String>>,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) struct Psk {
    pub(super) hex: Option<Secret>,
    pub(super) text: Option<Secret>,
    pub(super) file: Option<PathBuf>,
}

/// A file of subscribers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriberFile {
    pub(super) subscribers: Vec<Subscriber>,
}

/// Text that is wiped on drop and has no `Debug`.
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) connections: Option<Spanned<u64>>,
    pub(super) connections_per_source: Option<Spanned<u64>>,
    pub(super) connections_per_site: Option<Spanned<u64>>,
    pub(super) handshakes_per_source: Option<Spanned<u64>>,
    pub(super) handshakes_per_second: Option<Spanned<u64>>,
    pub(super) handshake_timeout: Option<Spanned<u64>>,
    pub(super) request_timeout: Option<Spanned<u64>>,
    pub(super) session_timeout: Option<Spanned<u64>>,
    pub(super) retry_after: Option<Spanned<u64>>,
}
