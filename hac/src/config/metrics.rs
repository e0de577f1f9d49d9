//! Where Prometheus asks.

use std::net::SocketAddr;

use serde::Deserialize;

/// The `metrics` section as it stands in the file. The admin socket has the metrics in any case.
#[derive(Debug, Clone, Copy, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) listen: Option<SocketAddr>,
}
