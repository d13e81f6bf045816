//! Time as the journal keeps it: the wall clock, and beside it a clock that nobody can set.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sysop_common::bytes::Digest;
use sysop_common::ids::sha256;
use sysop_common::time::UnixMs;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// By the wall clock.
    pub at: UnixMs,
    /// Milliseconds since boot, sleep included.
    pub up_ms: u64,
    /// Digest of the kernel's boot id: says whether two `up_ms` can be compared.
    pub boot: Digest,
}

impl Stamp {
    /// Milliseconds from `self` to `now`. Within one boot the wall clock plays no part; across boots
    /// it is the wall clock's word, and at least the time since this boot.
    #[must_use]
    pub fn until(&self, now: &Self) -> u64 {
        if self.boot == now.boot {
            return now.up_ms.saturating_sub(self.up_ms);
        }
        u64::try_from(now.at.since(self.at)).unwrap_or_default().max(now.up_ms)
    }
}

/// Reads the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn stamp(&self) -> Stamp;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    boot: Digest,
}

impl SystemClock {
    /// Reads the boot id. Without one every start of this process counts as a boot of its own.
    #[must_use]
    pub fn new() -> Self {
        let id = std::fs::read("/proc/sys/kernel/random/boot_id")
            .unwrap_or_else(|_| uuid::Uuid::new_v4().into_bytes().to_vec());
        Self { boot: Digest(sha256(&id)) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn stamp(&self) -> Stamp {
        let up = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(up.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(up.tv_nsec).unwrap_or_default();
        Stamp {
            at: UnixMs::from_system(SystemTime::now()),
            up_ms: seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000),
            boot: self.boot,
        }
    }
}
