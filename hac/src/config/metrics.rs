//! Where Prometheus asks.

use std::net::SocketAddr;

use serde::Deserialize;

/// The `metrics` section as it stands in the file. The admin socket has the metrics in any case.
#[derive(Debug, Clone, Copy, Deserialize, schemars::JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Metrics")]
pub(super) struct Raw {
    /// Address and TCP port of `GET /metrics`. Whoever reaches it may read. Default: none.
    pub(super) listen: Option<SocketAddr>,
}
