//! Values that go into the sample store and come out of it.

use std::sync::Arc;

use serde::Serialize;
use sysop_common::ids::{Epoch, HostId, SchemaId, Seq};
use sysop_common::metric::MetricId;
use sysop_common::sample::{NOT_OBSERVED, Process, Schema, Tick, Unit};
use sysop_common::time::UnixMs;
use sysop_common::wire::GapReason;

use super::rates;

/// A schema with its content address, shared by all ticks under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSchema {
    /// Its content address.
    pub id: SchemaId,
    /// Its columns.
    pub schema: Schema,
}

impl NamedSchema {
    /// Names `schema`.
    #[must_use]
    pub fn new(schema: Schema) -> Arc<Self> {
        Arc::new(Self { id: schema.id(), schema })
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.schema.columns.iter().map(|column| column.label.len() + size_of_val(column)).sum()
    }
}

/// A boot of a host, as a number: equal boots have equal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Boot(pub u64);

impl Boot {
    /// For an epoch whose boot nobody knows any more: a boot of its own, so that no rate is taken across.
    #[must_use]
    pub const fn unknown(epoch: Epoch) -> Self {
        Self(epoch.0)
    }

    /// From the kernel's boot id.
    #[must_use]
    pub fn from_id(boot_id: &str) -> Self {
        let digest = sysop_common::ids::sha256(boot_id.as_bytes());
        Self(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// A tick as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The tick. `tick.at` is the host's own clock.
    pub tick: Arc<Tick>,
    /// Meaning of its columns.
    pub schema: Arc<NamedSchema>,
    /// Start of the agent in which it was taken.
    pub epoch: Epoch,
    /// Boot of the host in which it was taken.
    pub boot: Boot,
    /// When it was taken, on the controller's clock: the host's clock corrected by its skew.
    pub at: UnixMs,
    /// When the controller got it.
    pub received_at: UnixMs,
}

impl Stored {
    /// The quantity in the column of `metric` with `label`, in the metric's unit; `None` when there
    /// is no such column or it was not observed. A counter comes as its raw count.
    #[must_use]
    pub fn raw(&self, metric: MetricId, label: &str) -> Option<f64> {
        let at = self.schema.schema.position(metric, label)?;
        let value = *self.tick.values.get(at)?;
        let scale = self.schema.schema.columns.get(at)?.scale;
        (value != NOT_OBSERVED).then(|| value as f64 / f64::from(scale))
    }

    /// Bytes that it takes in memory, about. What a small frame unfolds to is bounded by this.
    #[must_use]
    pub fn cost(&self) -> usize {
        tick_cost(&self.tick)
    }

    /// Labels of `metric`'s columns, in their order.
    pub fn labels(&self, metric: MetricId) -> impl Iterator<Item = &str> {
        self.schema.schema.columns.iter().filter(move |c| c.metric == metric).map(|c| c.label.as_str())
    }
}

/// Bytes that a tick takes in memory, about.
#[must_use]
pub fn tick_cost(tick: &Tick) -> usize {
    let process =
        |p: &Process| p.comm.len() + p.user.len() + p.unit.len() + p.args.len() + size_of::<Process>();
    let unit = |u: &Unit| u.name.len() + u.sub.len() + u.result.len() + size_of::<Unit>();
    size_of::<Tick>()
        + tick.values.len() * size_of::<i64>()
        + tick.processes.iter().map(process).sum::<usize>()
        + tick.units.iter().map(unit).sum::<usize>()
}

/// The newest tick of a host and the one before it, from which rates are derived.
#[derive(Debug, Clone)]
pub struct Latest {
    /// The newest.
    pub now: Arc<Stored>,
    /// The one before.
    pub previous: Option<Arc<Stored>>,
}

impl Latest {
    /// The value of a metric by its name in the API (see [`rates`]): counters as rates per second,
    /// derived metrics computed. `None` when it is not observed or has no rate yet.
    #[must_use]
    pub fn value(&self, name: &str, label: &str) -> Option<f64> {
        rates::value(self.previous.as_deref(), &self.now, name, label)
    }
}

/// A tick on its way into the store.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Of which host.
    pub host: HostId,
    /// The tick and what belongs to it.
    pub stored: Arc<Stored>,
}

/// Samples that will never come, or time without any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostGap {
    /// Of which host.
    pub host: HostId,
    /// Of which epoch.
    pub epoch: Epoch,
    /// First and last number that are missing, if numbers were given to them.
    pub seqs: Option<(Seq, Seq)>,
    /// From when.
    pub from: UnixMs,
    /// Until when.
    pub to: UnixMs,
    /// Why.
    pub reason: GapReason,
}

/// What is committed together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Ticks; those of one host in the order of their numbers.
    pub ticks: Vec<Incoming>,
    /// Gaps.
    pub gaps: Vec<HostGap>,
}

impl Batch {
    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.gaps.is_empty()
    }
}

/// How finely a series is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// One point per so many ms.
    Step(i64),
    /// At most about so many points over the window.
    Points(u32),
}

/// Which series are asked for.
#[derive(Debug, Clone)]
pub struct SeriesRequest {
    /// Of which host.
    pub host: HostId,
    /// Names of metrics (see [`rates`]), each with one label or, with `None`, with every label that
    /// occurs in the window.
    pub metrics: Vec<(String, Option<String>)>,
    /// From when.
    pub from: UnixMs,
    /// Until when.
    pub to: UnixMs,
    /// How finely.
    pub resolution: Resolution,
}

/// Unit of a series' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesUnit {
    /// A part of one; of CPU time: cores.
    Ratio,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerS,
    /// Events per second.
    PerS,
    /// A plain number.
    Count,
    /// Milliseconds.
    Ms,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Name of the metric.
    pub metric: String,
    /// Label; empty for the host.
    pub label: String,
    /// Unit of the values.
    pub unit: SeriesUnit,
    /// Time in ms and value; `None` where there is none. All series of a set have the same times.
    pub points: Vec<(i64, Option<f64>)>,
}

/// A stretch without samples, as the web shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapRow {
    /// From when, ms.
    pub from: i64,
    /// Until when, ms.
    pub to: i64,
    /// Why.
    pub reason: GapReason,
}

/// The answer to a [`SeriesRequest`]; its JSON form is the one of the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesSet {
    /// Start of the window, ms.
    pub from: i64,
    /// End of the window, ms.
    pub to: i64,
    /// Ms between points; 0 when the points are the ticks themselves.
    pub step_ms: i64,
    /// The series, in the order in which they were asked for, then by label.
    pub series: Vec<Series>,
    /// Known gaps in the window.
    pub gaps: Vec<GapRow>,
}
