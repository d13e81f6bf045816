//! The store against plain lists of ticks.

mod crash;
mod model;
mod numbers;

use std::sync::Arc;

use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::metric::{self, MetricId};
use sysop_common::sample::{Active, Column, Process, Schema, Tick, Unit};
use sysop_common::time::UnixMs;

use super::*;

pub(super) const START: UnixMs = UnixMs(1_800_000_000_000);

pub(super) fn host(n: u128) -> HostId {
    HostId(uuid::Uuid::from_u128(n))
}

pub(super) fn schema(columns: &[(MetricId, &str)]) -> Arc<NamedSchema> {
    let columns = columns.iter().map(|(id, label)| Column::new(*id, *label).unwrap()).collect();
    NamedSchema::new(Schema { columns })
}

/// Eight modes of CPU time, memory, a file system, a network interface.
pub(super) fn usual() -> Arc<NamedSchema> {
    let mut columns: Vec<(MetricId, &str)> = (1..=8).map(|id| (MetricId(id), "")).collect();
    columns.extend([(metric::MEMORY_TOTAL, ""), (metric::MEMORY_AVAILABLE, "")]);
    columns.extend([(metric::FS_TOTAL, "/"), (metric::FS_FREE, "/"), (metric::FS_AVAILABLE, "/")]);
    columns.extend([(metric::NET_RX_BYTES, "eth0"), (metric::NET_RX_BYTES, "lo"), (metric::LOAD_1, "")]);
    schema(&columns)
}

pub(super) fn values(n: i64) -> Vec<i64> {
    let mut values: Vec<i64> = vec![n * 1_000, 0, n * 500, n * 8_000, n * 100, n * 10, n * 20, 0];
    values.extend([
        8 << 30,
        (4 << 30) + (n % 7) * 4_096,
        100 << 30,
        (40 << 30) - n * 4_096,
        (35 << 30) - n * 4_096,
    ]);
    values.extend([n * 1_500_000, 77, 150 + n % 5]);
    values
}

pub(super) fn process(pid: u32, n: i64) -> Process {
    Process {
        pid,
        start_ticks: 5,
        comm: format!("worker-{pid}").into(),
        user: "www-data".into(),
        unit: "nginx.service".into(),
        cpu_ms: n as u64 * 10,
        rss_bytes: 1 << 20,
        threads: 2,
        state: b'S',
        ..Process::default()
    }
}

pub(super) struct Maker {
    pub(super) host: HostId,
    pub(super) epoch: Epoch,
    pub(super) boot: Boot,
    pub(super) schema: Arc<NamedSchema>,
}

impl Maker {
    pub(super) fn new(n: u128) -> Self {
        Self { host: host(n), epoch: Epoch(1), boot: Boot(1), schema: usual() }
    }

    pub(super) fn tick(&self, seq: u64, at: UnixMs) -> Incoming {
        self.with(seq, at, values(seq as i64))
    }

    pub(super) fn with(&self, seq: u64, at: UnixMs, values: Vec<i64>) -> Incoming {
        let n = seq as i64;
        let unit = Unit {
            name: "nginx.service".into(),
            active: Active::Active,
            sub: "running".into(),
            ..Unit::default()
        };
        let tick = Tick {
            seq: Seq(seq),
            at: at.plus(-3),
            values,
            processes: vec![process(1, n), process(2 + (seq / 5) as u32, n)],
            units: vec![unit],
        };
        let stored = Stored {
            tick: Arc::new(tick),
            schema: self.schema.clone(),
            epoch: self.epoch,
            boot: self.boot,
            at,
            received_at: at.plus(20),
        };
        Incoming { host: self.host, stored: Arc::new(stored) }
    }
}

pub(super) async fn open(dir: &std::path::Path) -> SampleStore {
    SampleStore::open(dir, Options::default()).await.unwrap()
}

pub(super) async fn put(store: &SampleStore, ticks: Vec<Incoming>) {
    let now = ticks.iter().map(|tick| tick.stored.received_at).max().unwrap();
    store.append(&Batch { ticks, gaps: vec![] }, now.plus(1)).await.unwrap();
}

/// Every stored tick of a host: (epoch, number, time), from all places, as often as readers see it.
pub(super) async fn seen(store: &SampleStore, host: HostId) -> Vec<(u64, i64)> {
    let request = SeriesRequest {
        host,
        metrics: vec![("load.1".into(), None)],
        from: START.plus(-1_000),
        to: START.plus(9 * sysop_common::time::DAY_MS),
        resolution: Resolution::Step(1),
    };
    let set = store.series(&request).await.unwrap();
    assert_eq!(set.step_ms, 0);
    let points = set.series.first().map_or(&[][..], |series| &series.points);
    points
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(at, value)| ((value.unwrap() * 100.0).round() as u64, *at))
        .collect()
}
