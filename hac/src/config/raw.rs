//! The YAML file as serde reads it: structure and types, nothing judged yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hearth_config::Spanned;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::check::PolicyKeys;
use super::services;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    /// Addresses and TCP ports to serve, as `[::]:7873`.
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    /// Certificates and TLS.
    pub(super) tls: Tls,
    /// The store of SAs, and where home agents fetch them.
    #[serde(default)]
    pub(super) directory: Directory,
    /// The home agents.
    pub(super) home_agents: Vec<HomeAgent>,
    /// Which of several HACs of one deployment this is. Default: the only one.
    pub(super) replica: Option<Spanned<Replica>>,
    /// What SAs get and mobile nodes may, where no realm or subscriber says otherwise.
    #[serde(default)]
    pub(super) policy: Policy,
    /// How mobile nodes authenticate inside TLS.
    #[serde(default)]
    pub(super) auth: super::auth::Raw,
    /// AAA servers, where `auth` offers the EAP method radius. Default: none.
    pub(super) radius: Option<super::radius::Raw>,
    /// EAP-TLS, where `auth` offers the EAP method tls. Default: none.
    pub(super) eap_tls: Option<super::eap_tls::Raw>,
    /// DNS servers reachable through the home agent. Default: none.
    #[serde(default)]
    pub(super) dns: Vec<IpAddr>,
    /// What holds for the subscribers of a realm. Default: none.
    #[serde(default)]
    pub(super) realms: Vec<OfRealm>,
    /// Who can get an SA.
    #[serde(default)]
    pub(super) subscribers: Vec<Subscriber>,
    /// Watched files of subscribers, or folders of such `.yaml` files. Default: none.
    #[serde(default)]
    pub(super) subscriber_files: Vec<PathBuf>,
    /// The store that `hearth subscriber` changes. Default: none.
    pub(super) subscriber_store: Option<Spanned<super::subscriber_store::Raw>>,
    /// How much the HAC takes on.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Where `hearth` asks. Default: no such socket.
    pub(super) admin: Option<super::admin::Raw>,
    /// Metrics for Prometheus.
    #[serde(default)]
    pub(super) metrics: super::metrics::Raw,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// PEM, end-entity certificate first, then its intermediates. Its names are subjectAltNames.
    pub(super) certificate: Spanned<PathBuf>,
    /// PEM: the certificate's key.
    pub(super) key: Spanned<PathBuf>,
    /// An OCSP response in DER to staple. Default: none.
    pub(super) ocsp: Option<Spanned<PathBuf>>,
    /// Further certificates: other kinds of key, other names. Default: none.
    #[serde(default)]
    pub(super) more_certificates: Vec<Certificate>,
    /// `default`: who asks for a name that no certificate has meets the first one; `refuse`: the
    /// handshake ends. Default: default.
    pub(super) unknown_name: Option<Spanned<String>>,
    /// TLS 1.3 beside TLS 1.2. Default: on.
    #[serde(default = "yes")]
    pub(super) tls13: bool,
    /// TLS cipher suites by their names at IANA, the most wanted first. Default: all with forward
    /// secrecy and AEAD.
    pub(super) suites: Option<Spanned<Vec<Spanned<String>>>>,
    /// TLS sessions can be resumed. Default: on.
    #[serde(default = "yes")]
    pub(super) tickets: bool,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// PEM, end-entity certificate first, then its intermediates.
    pub(super) certificate: Spanned<PathBuf>,
    /// PEM: its key.
    pub(super) key: Spanned<PathBuf>,
    /// An OCSP response in DER to staple. Default: none.
    pub(super) ocsp: Option<Spanned<PathBuf>>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Directory {
    /// The durable store: SAs with their keys, SPIs and leases. Default: `/var/lib/hearth-
    /// hac/hac.redb`.
    pub(super) store: PathBuf,
    /// The Unix socket where home agents fetch their SAs. Default: `/run/hearth/directory.sock`.
    pub(super) socket: PathBuf,
    /// Users, by number, that may, beside root and the daemon's own. Default: none.
    pub(super) allow_uids: Vec<u32>,
    /// Addresses and TCP ports for home agents on other machines, by mutual TLS. Default: none.
    pub(super) listen: Vec<Spanned<SocketAddr>>,
    /// PEM: the certificate shown to them.
    pub(super) certificate: Option<Spanned<PathBuf>>,
    /// PEM: its key.
    pub(super) key: Option<Spanned<PathBuf>>,
    /// PEM: the authority of home agents' certificates.
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

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HomeAgent {
    /// What hearthd calls itself.
    pub(super) name: Spanned<String>,
    /// Its IPv6 home agent address (mip6-haa-ip6).
    pub(super) ip6: Spanned<Ipv6Addr>,
    /// Its IPv4 home agent address (mip6-haa-ip4). Default: none.
    pub(super) ip4: Option<Spanned<Ipv4Addr>>,
    /// Its Mobile IPv6 service port, UDP (mip6-port). Default: 7872.
    pub(super) port: Option<Spanned<u16>>,
    /// First and last SPI that its SAs get, within 1 and 268435455; ranges don't overlap.
    pub(super) spi_range: Spanned<[u32; 2]>,
    /// The IPv6 home network prefix (mip6-ip6-hnp).
    pub(super) home_prefix_ip6: Spanned<String>,
    /// The IPv4 home network prefix (mip6-ip4-hnp). Default: none.
    pub(super) home_prefix_ip4: Option<Spanned<String>>,
    /// The name in its certificate, for `directory.listen`. Default: its name.
    pub(super) certificate_name: Option<String>,
    /// Any word, for `home_agent_choice: region`. Default: none.
    pub(super) region: Option<Spanned<String>>,
    /// Most SAs; beyond, another home agent or a 503. Default: all SPIs.
    pub(super) max_sas: Option<Spanned<u64>>,
    /// Addresses and prefixes to deal out. Default: none.
    #[serde(default)]
    pub(super) pools: Pools,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replica {
    /// Which one this is, from 0.
    pub(super) index: u16,
    /// How many there are.
    pub(super) of: u16,
}

#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Pools {
    /// First and last IPv6 home address. Default: none.
    pub(super) ip6: Option<Spanned<[Ipv6Addr; 2]>>,
    /// First and last IPv4 home address. Default: none.
    pub(super) ip4: Option<Spanned<[Ipv4Addr; 2]>>,
    /// A home network prefix for each subscriber with `home_address_ip6: prefix`. Default: none.
    pub(super) home_prefixes_ip6: Option<Spanned<PrefixPool>>,
    /// Mobile networks for subscribers with pool-ip6 among their prefixes. Default: none.
    pub(super) mobile_networks_ip6: Option<Spanned<PrefixPool>>,
    /// Mobile networks for subscribers with pool-ip4 among their prefixes. Default: none.
    pub(super) mobile_networks_ip4: Option<Spanned<PrefixPool>>,
    /// Prefixes of which an AAA server may delegate mobile networks. Default: none.
    #[serde(default)]
    pub(super) delegated_ip6: Vec<Spanned<String>>,
    /// Seconds that a lease outlives the last SA with it. Default: as long as there is the
    /// subscriber.
    pub(super) lease_time: Option<Spanned<u64>>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefixPool {
    /// The prefix that the pool is.
    pub(super) within: String,
    /// Prefix length of each part.
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
        #[derive(Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $($(#[$own_meta])* pub(super) $own: $type,)*
            /// Ciphersuites between mobile node and home agent, the most wanted first. Default:
            /// AES_128_CBC_SHA, AES_128_CBC_SHA256.
            suites: Option<Spanned<Vec<Spanned<String>>>>,
            /// mip6-sas: `1` for user data too, `0` for signalling only, `proposed` for what the
            /// mobile node asks. Default: 1.
            #[schemars(with = "Option<hearth_config::Word>")]
            scope: Option<Spanned<String>>,
            /// Validity of an SA in seconds, 60 to 31536000. Default: 86400.
            sa_validity: Option<Spanned<u64>>,
            /// SAs that one mobile node holds, 2 to 128; the next ends the oldest.
            max_sas: Option<Spanned<u64>>,
            /// For subscribers that name no home agent: `fixed`, `least-loaded` or `region`.
            /// Default: fixed.
            home_agent_choice: Option<Spanned<String>>,
            /// May register mobile networks (RFC 3963). Default: off, on for a subscriber with
            /// prefixes.
            mobile_router: Option<Spanned<bool>>,
            /// Care-of addresses at a time (RFC 5648), 1 to 8. Default: 1.
            care_of_addresses: Option<Spanned<u64>>,
            /// Several care-of addresses in one Binding Update. Default: off.
            bulk: Option<Spanned<bool>>,
            /// Rules that spread flows over them (RFC 6089), 0 to 16. Default: 0.
            flow_bindings: Option<Spanned<u64>>,
            /// May join multicast groups through the tunnel. Default: off.
            multicast: Option<Spanned<bool>>,
            /// Longest binding in seconds, 4 to 262140. Default: the home agent's.
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
        /// What stands behind the `@` of their mn-ids.
        realm: Spanned<String>,
        /// Their home agent. Default: the only one, or by `home_agent_choice`.
        home_agent: Option<Spanned<String>>,
        /// Their region, for `home_agent_choice: region`. Default: none.
        region: Option<String>,
    }
}

with_policy! {
    /// An entry of `subscribers`.
    pub(crate) struct Subscriber {
        /// Network access identifier (RFC 4282).
        mn_id: Spanned<String>,
        /// The pre-shared key, at least 16 octets: one of hex, text and file. Default: none.
        psk: Option<Spanned<Psk>>,
        /// The home agent. Default: the only one, or by `home_agent_choice`.
        home_agent: Option<Spanned<String>>,
        /// The region, for `home_agent_choice: region`. Default: none.
        region: Option<String>,
        /// An address inside the home prefix, `pool` or `prefix`. Default: pool.
        home_address_ip6: Option<Spanned<String>>,
        /// An address inside the home prefix, `pool` or `none`. Default: `pool` where there is one.
        home_address_ip4: Option<Spanned<String>>,
        /// Mobile networks, 32 at most, or `pool-ip6` and `pool-ip4`. Default: none.
        #[serde(default)]
        prefixes: Vec<Spanned<String>>,
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(super) struct Psk {
    /// Hexadecimal digits.
    #[schemars(with = "Option<String>")]
    pub(super) hex: Option<Secret>,
    /// The octets of this text.
    #[schemars(with = "Option<String>")]
    pub(super) text: Option<Secret>,
    /// A file that holds hexadecimal digits.
    pub(super) file: Option<PathBuf>,
}

/// A file of subscribers.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscriberFile {
    /// Who can get an SA.
    pub(super) subscribers: Vec<Subscriber>,
}

/// Text that is wiped on drop and has no `Debug`.
pub(super) struct Secret(pub(super) Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Sessions at a time. Default: 4096.
    pub(super) connections: Option<Spanned<u64>>,
    /// From one IPv4 address or IPv6 /64. Default: 64.
    pub(super) connections_per_source: Option<Spanned<u64>>,
    /// From one IPv4 /24 or IPv6 /56. Default: 256.
    pub(super) connections_per_site: Option<Spanned<u64>>,
    /// A second, of one IPv4 address or IPv6 /64. Default: 200.
    pub(super) handshakes_per_source: Option<Spanned<u64>>,
    /// A second, of all together. Default: no limit.
    pub(super) handshakes_per_second: Option<Spanned<u64>>,
    /// Seconds for the TLS handshake. Default: 10.
    pub(super) handshake_timeout: Option<Spanned<u64>>,
    /// Seconds for each request. Default: 10.
    pub(super) request_timeout: Option<Spanned<u64>>,
    /// Seconds for the whole session. Default: 30.
    pub(super) session_timeout: Option<Spanned<u64>>,
    /// Seconds that a 503 asks a mobile node to wait. Default: 30.
    pub(super) retry_after: Option<Spanned<u64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_what_the_types_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/schema/hac.json");
        hearth_config::same_schema::<Root>(
            "hac.yaml of hearth-hac, the Home Agent Controller (RFC 6618)",
            path.as_ref(),
        )
        .unwrap();
    }
}
