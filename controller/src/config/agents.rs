//! The agents' side: where they connect, how often they look.

use std::net::SocketAddr;

use sysop_common::wire::DEFAULT_PORT;

use super::server::{Environment, address};
use super::sources::{ConfigError, Key, Sources};
use super::units::{duration, flag};

/// `[agents]`.
#[derive(Debug, Clone)]
pub struct Agents {
    /// Address for agents, UDP (QUIC) and TCP (TLS).
    pub listen: SocketAddr,
    /// `HOST:PORT` that agents dial, when it is not what the browser's address tells.
    pub address: Option<String>,
    /// Time between two samples of a host, in ms.
    pub interval_ms: i64,
    /// Whether an agent of this machine runs inside the controller, monitor-only.
    pub local: bool,
}

const LISTEN: Key = Key::new("agents.listen", &["SYSOP_AGENTS_LISTEN"]);
const ADDRESS: Key = Key::new("agents.address", &["SYSOP_AGENTS_ADDRESS"]);
const INTERVAL: Key = Key::new("agents.interval", &["SYSOP_AGENTS_INTERVAL"]);
const LOCAL: Key = Key::new("agents.local", &["SYSOP_AGENTS_LOCAL"]);

impl Agents {
    pub(super) fn read(sources: &mut Sources, environment: Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            listen: sources
                .read(LISTEN, address("127.0.0.1:8443"))?
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT))),
            address: sources.read(ADDRESS, host_port)?,
            interval_ms: sources.read(INTERVAL, duration("1s", "60s"))?.unwrap_or(10_000),
            local: sources.read(LOCAL, flag)?.unwrap_or(environment == Environment::Development),
        })
    }
}

/// A host and a port, as they are pasted into a shell: nothing that a shell could read otherwise.
fn host_port(text: &str) -> Result<String, String> {
    let must = || "must be a host and a port such as sysop.example.org:8443".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(must)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    let named = !host.is_empty() && host.len() <= 253 && !host.starts_with('-') && host.bytes().all(allowed);
    if named && port.parse::<u16>().is_ok_and(|port| port > 0) { Ok(text.to_owned()) } else { Err(must()) }
}
