//! The one place where raw values become what people read: rates of counters, shares of time, and
//! derived metrics. It knows resets and gaps.
//!
//! Every metric of [`sysop_common::metric`] has its own name here: a gauge is read as it is, a counter
//! of bytes as bytes per second, of events as events per second, of time as a share of time (`psi.*`,
//! `disk.busy`, `cpu.core.busy`: 0 to 1; `cpu.user` and its kin: cores). Besides there are:
//!
//! | name | label | what it is |
//! |---|---|---|
//! | `cpu.usage` | | busy part of all CPU time, 0 to 1; waiting for I/O is not busy |
//! | `cpu.mode.user`, `.nice`, `.system`, `.iowait`, `.irq`, `.steal` | | part of all CPU time in that mode; `irq` with soft interrupts |
//! | `cpu.core.usage` | core | busy part of one core |
//! | `memory.used`, `memory.used_ratio` | | total less available |
//! | `swap.used`, `swap.used_ratio` | | total less free |
//! | `fs.used` | mount | total less free |
//! | `fs.used_ratio` | mount | used of what is not reserved for root, as `df` shows it |
//! | `fs.inodes.used_ratio` | mount | used of all inodes |
//! | `disk.busy_ratio` | device | part of the time with requests under way |
//! | `disk.read_latency`, `disk.write_latency` | device | mean ms per request |
//! | `fd.used_ratio`, `conntrack.used_ratio`, `threads.used_ratio` | | used of the kernel's limit |

use sysop_common::metric::{self, Kind, MetricId, Unit};
use sysop_common::sample::NOT_OBSERVED;

use super::types::{Boot, SeriesUnit, Stored};

/// No rate is taken over a stretch longer than this many intervals.
pub const MAX_INTERVALS: f64 = 2.5;

/// How a metric is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Its name.
    pub name: &'static str,
    /// Unit of what comes out.
    pub unit: SeriesUnit,
    /// The columns that go in; those of one label.
    pub inputs: &'static [MetricId],
    eval: Eval,
}

#[derive(Debug, Clone, Copy)]
enum Eval {
    /// From the values now.
    Now(fn(&[f64]) -> Option<f64>),
    /// From how much the counters grew, and over how many ms.
    Over(fn(&[f64], f64) -> Option<f64>),
}

/// The reading called `name`.
#[must_use]
pub fn reading(name: &str) -> Option<Reading> {
    if let Some(derived) = DERIVED.iter().find(|derived| derived.name == name) {
        return Some(*derived);
    }
    let metric = metric::by_name(name)?;
    let (unit, eval) = match (metric.kind, metric.unit) {
        (Kind::Gauge, Unit::Bytes) => (SeriesUnit::Bytes, Eval::Now(first)),
        (Kind::Gauge, Unit::Ms) => (SeriesUnit::Ms, Eval::Now(first)),
        (Kind::Gauge, Unit::Us) => (SeriesUnit::Ms, Eval::Now(us_as_ms)),
        (Kind::Gauge, Unit::Count | Unit::Flag) => (SeriesUnit::Count, Eval::Now(first)),
        (Kind::Counter, Unit::Bytes) => (SeriesUnit::BytesPerS, Eval::Over(per_second)),
        (Kind::Counter, Unit::Ms) => (SeriesUnit::Ratio, Eval::Over(share_of_ms)),
        (Kind::Counter, Unit::Us) => (SeriesUnit::Ratio, Eval::Over(share_of_us)),
        (Kind::Counter, Unit::Count | Unit::Flag) => (SeriesUnit::PerS, Eval::Over(per_second)),
    };
    // The metric's own entry, for an input that lives as long as the program.
    let at = metric::ALL.iter().position(|other| other.id == metric.id)?;
    Some(Reading { name: metric.name, unit, inputs: std::slice::from_ref(&metric::ALL[at].id), eval })
}

/// The value of metric `name` at `now`, with the tick before for rates.
#[must_use]
pub fn value(previous: Option<&Stored>, now: &Stored, name: &str, label: &str) -> Option<f64> {
    let reading = reading(name)?;
    let columns: Vec<(usize, f64)> =
        reading.inputs.iter().map(|id| column(now, *id, label)).collect::<Option<_>>()?;
    let pick = |stored: &Stored| -> Option<Vec<i64>> {
        columns.iter().map(|(at, _)| stored.tick.values.get(*at).copied()).collect()
    };
    let scales: Vec<f64> = columns.iter().map(|(_, scale)| *scale).collect();
    // Two agent intervals at most are between two ticks that follow each other; the longest is a minute.
    let previous = previous
        .filter(|p| p.schema.id == now.schema.id && follows(p.boot, now.boot, now.at.since(p.at), 60_000.0));
    let before = previous.and_then(|p| Some((pick(p)?, now.at.since(p.at))));
    reading.eval(before.as_ref().map(|(values, dt)| (values.as_slice(), *dt)), &pick(now)?, &scales)
}

fn column(stored: &Stored, id: MetricId, label: &str) -> Option<(usize, f64)> {
    let at = stored.schema.schema.position(id, label)?;
    Some((at, f64::from(stored.schema.schema.columns.get(at)?.scale)))
}

/// Whether a rate may be taken between two ticks: same boot, forward in time, no gap between them.
#[must_use]
pub fn follows(before: Boot, now: Boot, dt_ms: i64, interval_ms: f64) -> bool {
    before == now && dt_ms > 0 && dt_ms as f64 <= MAX_INTERVALS * interval_ms
}

impl Reading {
    /// Whether it needs the tick before.
    #[must_use]
    pub const fn is_rate(&self) -> bool {
        matches!(self.eval, Eval::Over(_))
    }

    /// Computes the value from the inputs' integers: those of the tick before with the ms since then
    /// (`None` across a gap, a reboot or at the start), those of now, and the columns' scales.
    #[must_use]
    pub fn eval(&self, before: Option<(&[i64], i64)>, now: &[i64], scales: &[f64]) -> Option<f64> {
        if now.contains(&NOT_OBSERVED) || now.len() != self.inputs.len() {
            return None;
        }
        let mut quantities = [0.0; MAX_INPUTS];
        let quantities = quantities.get_mut(..now.len())?;
        match self.eval {
            Eval::Now(f) => {
                for (at, quantity) in quantities.iter_mut().enumerate() {
                    *quantity = now[at] as f64 / scales[at];
                }
                f(quantities)
            }
            Eval::Over(f) => {
                let (before, dt) = before?;
                for (at, quantity) in quantities.iter_mut().enumerate() {
                    *quantity = growth(self.inputs[at], *before.get(at)?, now[at], dt)? / scales[at];
                }
                f(quantities, dt as f64)
            }
        }
        .filter(|value| value.is_finite())
    }
}

/// Most inputs of a reading.
pub(super) const MAX_INPUTS: usize = 8;

/// How much a counter grew; `None` after a reset. The kernel lets times of idle and iowait fall back
/// by a few ticks: that is no reset.
fn growth(id: MetricId, before: i64, now: i64, dt_ms: i64) -> Option<f64> {
    if before == NOT_OBSERVED {
        return None;
    }
    let grown = now.checked_sub(before)?;
    let is_time = metric::by_id(id).is_some_and(|m| m.unit == Unit::Ms);
    match grown {
        0.. => Some(grown as f64),
        _ if is_time && -grown < dt_ms / 10 => Some(0.0),
        _ => None,
    }
}

fn first(now: &[f64]) -> Option<f64> {
    now.first().copied()
}

fn us_as_ms(now: &[f64]) -> Option<f64> {
    first(now).map(|us| us / 1_000.0)
}

fn per_second(grown: &[f64], dt_ms: f64) -> Option<f64> {
    first(grown).map(|n| n * 1_000.0 / dt_ms)
}

fn share_of_ms(grown: &[f64], dt_ms: f64) -> Option<f64> {
    first(grown).map(|ms| ms / dt_ms)
}

fn share_of_us(grown: &[f64], dt_ms: f64) -> Option<f64> {
    whole(first(grown).map(|us| us / 1_000.0 / dt_ms))
}

/// Never above one: a sample's own jitter must not show as 101 %.
fn whole(ratio: Option<f64>) -> Option<f64> {
    ratio.map(|ratio| ratio.clamp(0.0, 1.0))
}

fn part(part: f64, of: f64) -> Option<f64> {
    if of > 0.0 { whole(Some(part / of)) } else { None }
}

/// Two inputs: total and what is left.
fn used(now: &[f64]) -> Option<f64> {
    Some((now[0] - now[1]).max(0.0))
}

fn used_ratio(now: &[f64]) -> Option<f64> {
    part(now[0] - now[1], now[0])
}

/// Three inputs: total, free, available.
fn df_ratio(now: &[f64]) -> Option<f64> {
    part(now[0] - now[1], now[0] - now[1] + now[2])
}

/// Two inputs: used and limit.
fn of_limit(now: &[f64]) -> Option<f64> {
    part(now[0], now[1])
}

/// Two inputs: time and requests.
fn latency(grown: &[f64], _: f64) -> Option<f64> {
    if grown[1] > 0.0 { Some(grown[0] / grown[1]) } else { Some(0.0) }
}

fn busy(grown: &[f64], dt_ms: f64) -> Option<f64> {
    whole(share_of_ms(grown, dt_ms))
}

/// Eight inputs: the modes of [`MODES`].
fn usage(grown: &[f64], _: f64) -> Option<f64> {
    let total: f64 = grown.iter().sum();
    part(total - grown[3] - grown[4], total)
}

macro_rules! modes {
    ($($name:ident $($at:literal)+;)*) => {
        $(fn $name(grown: &[f64], _: f64) -> Option<f64> {
            part(0.0 $(+ grown[$at])+, grown.iter().sum())
        })*
    };
}
modes! { user 0; nice 1; system 2; iowait 4; irq 5 6; steal 7; }

const MODES: &[MetricId] = &[
    metric::CPU_USER,
    metric::CPU_NICE,
    metric::CPU_SYSTEM,
    metric::CPU_IDLE,
    metric::CPU_IOWAIT,
    metric::CPU_IRQ,
    metric::CPU_SOFTIRQ,
    metric::CPU_STEAL,
];

const fn ratio(name: &'static str, inputs: &'static [MetricId], f: fn(&[f64]) -> Option<f64>) -> Reading {
    Reading { name, unit: SeriesUnit::Ratio, inputs, eval: Eval::Now(f) }
}

const fn share(
    name: &'static str,
    inputs: &'static [MetricId],
    f: fn(&[f64], f64) -> Option<f64>,
) -> Reading {
    Reading { name, unit: SeriesUnit::Ratio, inputs, eval: Eval::Over(f) }
}

const fn bytes(name: &'static str, inputs: &'static [MetricId]) -> Reading {
    Reading { name, unit: SeriesUnit::Bytes, inputs, eval: Eval::Now(used) }
}

const fn ms(name: &'static str, inputs: &'static [MetricId]) -> Reading {
    Reading { name, unit: SeriesUnit::Ms, inputs, eval: Eval::Over(latency) }
}

/// The metrics that are computed from others.
pub const DERIVED: &[Reading] = &[
    share("cpu.usage", MODES, usage),
    share("cpu.mode.user", MODES, user),
    share("cpu.mode.nice", MODES, nice),
    share("cpu.mode.system", MODES, system),
    share("cpu.mode.iowait", MODES, iowait),
    share("cpu.mode.irq", MODES, irq),
    share("cpu.mode.steal", MODES, steal),
    share("cpu.core.usage", &[metric::CPU_CORE_BUSY], busy),
    bytes("memory.used", &[metric::MEMORY_TOTAL, metric::MEMORY_AVAILABLE]),
    ratio("memory.used_ratio", &[metric::MEMORY_TOTAL, metric::MEMORY_AVAILABLE], used_ratio),
    bytes("swap.used", &[metric::SWAP_TOTAL, metric::SWAP_FREE]),
    ratio("swap.used_ratio", &[metric::SWAP_TOTAL, metric::SWAP_FREE], used_ratio),
    bytes("fs.used", &[metric::FS_TOTAL, metric::FS_FREE]),
    ratio("fs.used_ratio", &[metric::FS_TOTAL, metric::FS_FREE, metric::FS_AVAILABLE], df_ratio),
    ratio("fs.inodes.used_ratio", &[metric::FS_INODES_TOTAL, metric::FS_INODES_FREE], used_ratio),
    share("disk.busy_ratio", &[metric::DISK_BUSY], busy),
    ms("disk.read_latency", &[metric::DISK_READ_TIME, metric::DISK_READS]),
    ms("disk.write_latency", &[metric::DISK_WRITE_TIME, metric::DISK_WRITES]),
    ratio("fd.used_ratio", &[metric::FD_USED, metric::FD_MAX], of_limit),
    ratio("conntrack.used_ratio", &[metric::CONNTRACK_USED, metric::CONNTRACK_MAX], of_limit),
    ratio("threads.used_ratio", &[metric::THREADS_TOTAL, metric::PID_MAX], of_limit),
];
