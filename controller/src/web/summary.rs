//! A host as lists show it: what is stored of it, its newest sample, whether it is connected.

use sysop_common::ids::HostId;
use sysop_common::metric;
use sysop_common::time::UnixMs;

use super::state::AppState;
use crate::store::StoreError;
use crate::store::hosts::{self, Host, HostFilter, HostStatus};
use crate::store::presence::Connected;
use crate::store::samples::Latest;

/// Hosts that are read from the store at a time.
const PAGE: u32 = 500;

/// A host with how it is now.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What is stored of it.
    pub host: Host,
    /// How it is doing.
    pub status: HostStatus,
    /// Its newest sample.
    pub latest: Option<Latest>,
    /// Its session.
    pub session: Option<Connected>,
    /// When it was last heard of.
    pub seen: Option<UnixMs>,
}

impl Summary {
    /// `host` as it is now.
    #[must_use]
    pub fn of(state: &AppState, host: Host) -> Self {
        let latest = state.samples.latest(host.id);
        let session = state.presence.of(host.id);
        let newest = latest.as_ref().map(|latest| latest.now.at);
        let heard = latest.as_ref().map(|latest| latest.now.received_at);
        let stored = (host.last_seen.0 > 0).then_some(host.last_seen);
        Self {
            status: HostStatus::derive(session.is_some(), newest, state.agents.interval_ms, state.now()),
            seen: heard.max(stored),
            host,
            latest,
            session,
        }
    }

    /// A value of the newest sample; none while the host sends nothing: an old value is not the present.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<f64> {
        self.labelled(name, "")
    }

    /// As [`Summary::value`], of one label.
    #[must_use]
    pub fn labelled(&self, name: &str, label: &str) -> Option<f64> {
        if self.status == HostStatus::Offline {
            return None;
        }
        self.latest.as_ref()?.value(name, label)
    }

    /// Mount points and how full each is, fullest first.
    #[must_use]
    pub fn filesystems(&self) -> Vec<(String, f64)> {
        let Some(latest) = &self.latest else { return Vec::new() };
        let used = |mount: &str| Some((mount.to_owned(), self.labelled("fs.used_ratio", mount)?));
        let mut all: Vec<_> = latest.now.labels(metric::FS_TOTAL).filter_map(used).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    /// Bytes per second out and in over all interfaces but the loopback.
    #[must_use]
    pub fn network(&self) -> Option<(f64, f64)> {
        let latest = self.latest.as_ref()?;
        let interfaces = latest.now.labels(metric::NET_TX_BYTES).filter(|label| *label != "lo");
        let flows: Vec<_> = interfaces
            .filter_map(|label| {
                Some((self.labelled("net.tx_bytes", label)?, self.labelled("net.rx_bytes", label)?))
            })
            .collect();
        let sum = |flow: (f64, f64), next: &(f64, f64)| (flow.0 + next.0, flow.1 + next.1);
        (!flows.is_empty()).then(|| flows.iter().fold((0.0, 0.0), sum))
    }

    /// The busiest of CPU, memory and the fullest file system, 0 to 1.
    #[must_use]
    pub fn busiest(&self) -> Option<f64> {
        let disk = self.filesystems().first().map(|(_, used)| *used);
        let all = [self.value("cpu.usage"), self.value("memory.used_ratio"), disk];
        all.into_iter().flatten().max_by(f64::total_cmp)
    }
}

/// All hosts that are not removed, in the order in which they came.
///
/// # Errors
/// Only the store's.
pub async fn all(state: &AppState) -> Result<Vec<Summary>, StoreError> {
    let mut found = Vec::new();
    let mut filter = HostFilter { limit: PAGE, ..HostFilter::default() };
    loop {
        let page = hosts::list(&state.db, &filter).await?;
        let last = page.len() < PAGE as usize;
        filter.after = page.last().map(|host| host.id);
        found.extend(page.into_iter().map(|host| Summary::of(state, host)));
        if last {
            return Ok(found);
        }
    }
}

/// One host that is not removed.
///
/// # Errors
/// [`StoreError::NotFound`] when there is none.
pub async fn one(state: &AppState, id: HostId) -> Result<Summary, StoreError> {
    let host = hosts::get(&state.db, id).await?;
    if host.removed_at.is_some() {
        return Err(StoreError::NotFound("host"));
    }
    Ok(Summary::of(state, host))
}
