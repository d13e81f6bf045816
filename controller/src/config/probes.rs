//! Where the controller's own probes may ask.

use sysop_common::network::Network;

use super::server::networks;
use super::sources::{ConfigError, Key, Sources};

/// `[probes]`.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// If there are any, the controller's probes ask only there.
    pub allow: Vec<Network>,
    /// They never ask there.
    pub deny: Vec<Network>,
}

const ALLOW: Key = Key::new("probes.allow", &["SYSOP_PROBES_ALLOW"]);
const DENY: Key = Key::new("probes.deny", &["SYSOP_PROBES_DENY"]);

impl Probes {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            allow: sources.read(ALLOW, networks)?.unwrap_or_default(),
            deny: sources.read(DENY, networks)?.unwrap_or_default(),
        })
    }
}
