//! Who is connected to this controller, as the other steps may see it. In memory only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

/// How a session is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP, where UDP does not come through.
    Tcp,
}

/// A live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// How.
    pub carrier: Carrier,
    /// From where.
    pub address: SocketAddr,
    /// Since when.
    pub since: UnixMs,
}

/// All live sessions. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<RwLock<HashMap<HostId, Connected>>>);

impl Presence {
    /// Notes a session.
    pub fn came(&self, host: HostId, connected: Connected) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(host, connected);
    }

    /// Notes that the session of that moment ended; a newer one stays.
    pub fn went(&self, host: HostId, connected: Connected) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.get(&host) == Some(&connected) {
            all.remove(&host);
        }
    }

    /// The live session of a host.
    #[must_use]
    pub fn of(&self, host: HostId) -> Option<Connected> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&host).copied()
    }

    /// Number of live sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
