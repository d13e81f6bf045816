//! What the rules of one look at one host work with, and how it is gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use sysop_common::metric;
use sysop_common::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};

use super::messages::{Language, Text};
use super::state::HostState;
use super::window::Window;
use crate::rules::{Compiled, Standing};
use crate::store::StoreError;
use crate::store::host_events::HostEvent;
use crate::store::samples::{RECENT_MS, Resolution, SampleStore, SeriesRequest};

/// A look at one host.
#[derive(Debug, Clone, Default)]
pub struct HostInput {
    /// Its ticks.
    pub window: Window,
    /// Longer histories of file systems that are more than half full.
    pub fills: BTreeMap<String, FillHistory>,
    /// What is remembered and was learned of it.
    pub state: HostState,
    /// Fingerprints of findings that are active in an open incident: hysteresis starts from them.
    pub open: BTreeSet<String>,
    /// What the link saw.
    pub events: Vec<HostEvent>,
    /// A maintenance window holds: soft findings are measured and not told.
    pub maintenance: bool,
    /// The language of what is found.
    pub language: Language,
    /// Rules of operators that are about this host and switched on.
    pub rules: Vec<Arc<Compiled>>,
    /// Where they stand; filled in by the look.
    pub standings: Vec<Standing>,
}

impl HostInput {
    /// The texts in the language of the input.
    #[must_use]
    pub fn text(&self) -> Text {
        self.language.text()
    }
}

/// How a file system filled up: bytes and inodes in use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FillHistory {
    /// Bytes, a point per minute over six hours.
    pub bytes_6h: Vec<(UnixMs, f64)>,
    /// Bytes, a point per hour over three days.
    pub bytes_3d: Vec<(UnixMs, f64)>,
    /// Inodes, a point per minute over six hours.
    pub inodes_6h: Vec<(UnixMs, f64)>,
    /// Inodes, a point per hour over three days.
    pub inodes_3d: Vec<(UnixMs, f64)>,
}

/// What outlives the samples in memory and a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {
    /// File systems that could be written to, and the hour in which that was last seen.
    #[serde(default)]
    pub writable: BTreeMap<String, i64>,
}

/// Most file systems that are remembered.
const MAX_WRITABLE: usize = 64;
/// What is read-only for longer is how it is meant to be.
pub const NEW_NORMAL_MS: i64 = DAY_MS;

impl HostMemory {
    /// What is remembered after a look.
    #[must_use]
    pub fn after(&self, window: &Window) -> Self {
        let mut next = self.clone();
        let Some(latest) = window.latest() else { return next };
        for mount in latest.labels(metric::FS_READ_ONLY) {
            if latest.value(metric::FS_READ_ONLY, mount) == Some(0) {
                let hour = latest.at().0 - latest.at().0.rem_euclid(HOUR_MS);
                next.writable.insert(mount.to_owned(), hour);
            }
        }
        while next.writable.len() > MAX_WRITABLE {
            let oldest = next.writable.iter().min_by_key(|(_, at)| **at).map(|(mount, _)| mount.clone());
            oldest.map(|mount| next.writable.remove(&mount));
        }
        next
    }
}

/// The window of a host.
#[must_use]
pub fn window(samples: &SampleStore, host: HostId, now: UnixMs) -> Window {
    let newest = samples.latest(host).map(|latest| latest.now);
    let since = newest.as_ref().map_or(now, |stored| stored.at).plus(-RECENT_MS);
    Window::new(samples.recent(host, since), newest)
}

/// Mounts whose history is worth reading: little enough of the bytes or inodes is left for a forecast.
#[must_use]
pub fn filling(window: &Window) -> Vec<String> {
    let Some(latest) = window.latest() else { return Vec::new() };
    let low = |left: Option<i64>, total: Option<i64>| {
        left.zip(total)
            .is_some_and(|(left, total)| total > 0 && left.saturating_mul(100) < total.saturating_mul(45))
    };
    latest
        .labels(metric::FS_TOTAL)
        .filter(|mount| {
            low(latest.value(metric::FS_AVAILABLE, mount), latest.value(metric::FS_TOTAL, mount))
                || low(
                    latest.value(metric::FS_INODES_FREE, mount),
                    latest.value(metric::FS_INODES_TOTAL, mount),
                )
        })
        .map(str::to_owned)
        .collect()
}

/// Reads the histories of `mounts`.
///
/// # Errors
/// When the samples cannot be read.
pub async fn histories(
    samples: &SampleStore,
    host: HostId,
    mounts: &[String],
    now: UnixMs,
) -> Result<BTreeMap<String, FillHistory>, StoreError> {
    let mut histories: BTreeMap<String, FillHistory> =
        mounts.iter().map(|mount| (mount.clone(), FillHistory::default())).collect();
    let metrics = |mount: &String| {
        ["fs.used", "fs.inodes.total", "fs.inodes.free"].map(|name| (name.to_owned(), Some(mount.clone())))
    };
    for (span, step) in [(6 * HOUR_MS, MINUTE_MS), (3 * DAY_MS, HOUR_MS)] {
        let request = SeriesRequest {
            host,
            metrics: mounts.iter().flat_map(metrics).collect(),
            from: now.plus(-span),
            to: now,
            resolution: Resolution::Step(step),
        };
        let set = samples.series(&request).await?;
        let points = |metric: &str, mount: &str| -> Vec<(UnixMs, f64)> {
            let series = set.series.iter().find(|series| series.metric == metric && series.label == mount);
            let points = series.map_or(&[][..], |series| &series.points);
            points.iter().filter_map(|(at, value)| Some((UnixMs(*at), (*value)?))).collect()
        };
        for (mount, history) in &mut histories {
            let bytes = points("fs.used", mount);
            let totals: BTreeMap<UnixMs, f64> = points("fs.inodes.total", mount).into_iter().collect();
            let inodes = points("fs.inodes.free", mount)
                .into_iter()
                .filter_map(|(at, free)| Some((at, totals.get(&at)? - free)))
                .collect();
            if step == MINUTE_MS {
                (history.bytes_6h, history.inodes_6h) = (bytes, inodes);
            } else {
                (history.bytes_3d, history.inodes_3d) = (bytes, inodes);
            }
        }
    }
    Ok(histories)
}
