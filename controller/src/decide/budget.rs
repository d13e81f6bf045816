//! How much may run without a person: per incident, per host, over the fleet. Pure; the claim counts
//! inside its transaction, so that two claims cannot both be the last one.

use std::collections::BTreeSet;

use sysop_common::ids::HostId;
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

/// Automatic runs of one incident.
pub const PER_INCIDENT: u32 = 2;
/// Automatic runs on one host in [`HOST_WINDOW_MS`].
pub const PER_HOST: u32 = 3;
/// See [`PER_HOST`].
pub const HOST_WINDOW_MS: i64 = HOUR_MS;
/// Share of the fleet's hosts with automatic runs in [`FLEET_WINDOW_MS`], in percent; at least one host.
pub const FLEET_PERCENT: u32 = 5;
/// See [`FLEET_PERCENT`].
pub const FLEET_WINDOW_MS: i64 = 10 * MINUTE_MS;

/// What was spent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// Automatic runs of this incident.
    pub incident: u32,
    /// Automatic runs on this host within its window.
    pub host: u32,
    /// Other hosts with automatic runs within the fleet's window.
    pub other_hosts: u32,
    /// Whether this host had one within the fleet's window.
    pub counted: bool,
    /// Hosts in the fleet.
    pub fleet: u32,
}

/// A budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Of the incident.
    #[error("{PER_INCIDENT} automatic actions were taken for this incident")]
    Incident,
    /// Of the host.
    #[error("{PER_HOST} automatic actions ran on this host within an hour")]
    Host,
    /// Of the fleet.
    #[error(
        "automatic actions ran on {hosts} other hosts within 10 minutes, as many as {FLEET_PERCENT} % of the fleet allows"
    )]
    Fleet {
        /// On how many others.
        hosts: u32,
    },
}

impl Spent {
    /// Counts what `runs` (host, time of the claim) of the last hour and `incident` (number of its own
    /// automatic runs) mean for `host`.
    #[must_use]
    pub fn count(
        runs: impl IntoIterator<Item = (HostId, UnixMs)>,
        host: HostId,
        incident: u32,
        fleet: u32,
        now: UnixMs,
    ) -> Self {
        let mut spent = Self { incident, fleet, ..Self::default() };
        let mut others = BTreeSet::new();
        for (other, at) in runs {
            let age = now.since(at);
            if other == host {
                spent.host += u32::from(age < HOST_WINDOW_MS);
                spent.counted |= age < FLEET_WINDOW_MS;
            } else if age < FLEET_WINDOW_MS {
                others.insert(other);
            }
        }
        spent.other_hosts = u32::try_from(others.len()).unwrap_or(u32::MAX);
        spent
    }

    /// Whether one more may run.
    ///
    /// # Errors
    /// The first budget that is used up.
    pub fn allows_one_more(&self) -> Result<(), Exhausted> {
        if self.incident >= PER_INCIDENT {
            return Err(Exhausted::Incident);
        }
        if self.host >= PER_HOST {
            return Err(Exhausted::Host);
        }
        let most = (self.fleet.saturating_mul(FLEET_PERCENT) / 100).max(1);
        if !self.counted && self.other_hosts >= most {
            return Err(Exhausted::Fleet { hosts: self.other_hosts });
        }
        Ok(())
    }
}
