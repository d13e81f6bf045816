//! Who is connected to this controller, as the other steps may see it. In memory only.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// All live sessions, and whose agents left in order. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<RwLock<All>>);

#[derive(Debug, Default)]
struct All {
    live: HashMap<HostId, Connected>,
    /// When the agents of hosts without a session were stopped in order.
    left: HashMap<HostId, UnixMs>,
}

impl Presence {
    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, All> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a session.
    pub fn came(&self, host: HostId, connected: Connected) {
        let mut all = self.write();
        all.live.insert(host, connected);
        all.left.remove(&host);
    }

    /// Notes that the session of that moment ended, and when its agent said goodbye, if it did; a newer
    /// session stays.
    pub fn went(&self, host: HostId, connected: Connected, left: Option<UnixMs>) {
        let mut all = self.write();
        if all.live.get(&host) == Some(&connected) {
            all.live.remove(&host);
            if let Some(at) = left {
                all.left.insert(host, at);
            }
        }
    }

    /// Forgets a host that was removed.
    pub fn forget(&self, host: HostId) {
        self.write().left.remove(&host);
    }

    /// The live session of a host.
    #[must_use]
    pub fn of(&self, host: HostId) -> Option<Connected> {
        self.read().live.get(&host).copied()
    }

    /// When the agent of a host without a session was stopped in order, as far as it is known.
    #[must_use]
    pub fn left(&self, host: HostId) -> Option<UnixMs> {
        self.read().left.get(&host).copied()
    }

    /// Number of live sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read().live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_remembered_until_the_host_is_back() {
        let host = HostId(uuid::Uuid::from_u128(1));
        let session = |since| Connected {
            carrier: Carrier::Tcp,
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            since: UnixMs(since),
        };
        let presence = Presence::default();
        presence.came(host, session(1));
        presence.went(host, session(1), Some(UnixMs(5)));
        assert_eq!((presence.of(host), presence.left(host)), (None, Some(UnixMs(5))));
        presence.came(host, session(6));
        assert_eq!(presence.left(host), None);
        // The earlier session of an agent that goes another way ends after the new one began.
        presence.went(host, session(1), Some(UnixMs(7)));
        assert_eq!((presence.of(host), presence.left(host)), (Some(session(6)), None));
        presence.went(host, session(6), None);
        assert_eq!((presence.count(), presence.left(host)), (0, None));
    }
}
