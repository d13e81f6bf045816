//! From columns of ticks to the points of a chart: pairs, gaps, buckets.

use sysop_common::ids::Epoch;
use sysop_common::sample::NOT_OBSERVED;
use sysop_common::time::UnixMs;

use super::rates::{self, Reading};
use super::series::{MAX_POINTS, STEPS_MS};
use super::types::{Boot, Resolution, Series};

/// Ticks of one epoch and schema, the needed columns only.
struct Segment {
    epoch: Epoch,
    boot: Boot,
    seqs: Vec<u64>,
    /// `None`: the schema has no such column.
    values: Vec<Option<Vec<i64>>>,
    scales: Vec<f64>,
}

/// Columns of ticks from several places, in the order of time, each tick once.
pub(super) struct Table {
    columns: usize,
    segments: Vec<Segment>,
    /// Time, segment, position in it.
    rows: Vec<(i64, u32, u32)>,
}

impl Table {
    pub(super) const fn new(columns: usize) -> Self {
        Self { columns, segments: Vec::new(), rows: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        epoch: Epoch,
        boot: Boot,
        times: Vec<i64>,
        seqs: Vec<u64>,
        values: Vec<Option<Vec<i64>>>,
        scales: Vec<f64>,
    ) {
        debug_assert_eq!(values.len(), self.columns);
        let segment = self.segments.len() as u32;
        self.rows.extend(times.iter().enumerate().map(|(at, time)| (*time, segment, at as u32)));
        self.segments.push(Segment { epoch, boot, seqs, values, scales });
    }

    /// Orders by time and drops ticks that came from two places.
    pub(super) fn sort(&mut self) {
        let segments = &self.segments;
        let key = |row: &(i64, u32, u32)| {
            let segment = &segments[row.1 as usize];
            (row.0, segment.epoch, segment.seqs.get(row.2 as usize).copied().unwrap_or(0))
        };
        self.rows.sort_by_key(key);
        self.rows.dedup_by_key(|row| key(row));
    }

    fn boot(&self, row: usize) -> Boot {
        self.segments[self.rows[row].1 as usize].boot
    }

    /// The inputs' values at a row; `None` when its schema lacks one of them.
    fn pick(&self, row: usize, inputs: &[usize], out: &mut Vec<i64>) -> Option<()> {
        let (_, segment, at) = self.rows[row];
        out.clear();
        for input in inputs {
            let column = self.segments[segment as usize].values[*input].as_ref()?;
            out.push(column.get(at as usize).copied().unwrap_or(NOT_OBSERVED));
        }
        Some(())
    }

    /// Whether the row before this one belongs to it: same boot, no gap. Interval by the neighbours,
    /// since it may have changed within the window.
    fn pairs(&self) -> Vec<bool> {
        let dts: Vec<i64> = self.rows.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let mut pairs = vec![false; self.rows.len()];
        for (at, dt) in dts.iter().enumerate() {
            let interval = median(&dts[at.saturating_sub(5)..at])
                .max(median(&dts[at + 1..(at + 6).min(dts.len())]))
                .unwrap_or(60_000);
            let boots = (self.boot(at), self.boot(at + 1));
            pairs[at + 1] = rates::follows(boots.0, boots.1, *dt, interval.max(1_000) as f64);
        }
        pairs
    }
}

fn median(dts: &[i64]) -> Option<i64> {
    let mut sorted: Vec<i64> = dts.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// One line: a reading of one label.
pub(super) struct Line<'a> {
    pub(super) reading: &'a Reading,
    pub(super) label: &'a str,
    pub(super) inputs: &'a [usize],
}

/// The times of the points, and which rows go into which.
pub(super) struct Grid {
    step: i64,
    pairs: Vec<bool>,
    /// Rows within the window.
    first: usize,
    /// Per row within the window the position of its point.
    point: Vec<usize>,
    times: Vec<i64>,
}

impl Grid {
    pub(super) fn new(table: &Table, from: UnixMs, to: UnixMs, resolution: Resolution) -> Self {
        let pairs = table.pairs();
        let first = table.rows.partition_point(|row| row.0 < from.0);
        let last = table.rows.partition_point(|row| row.0 <= to.0);
        let window = &table.rows[first.min(last)..last];
        let step = step(window, from, to, resolution);
        let mut grid =
            Self { step, pairs, first, point: Vec::with_capacity(window.len()), times: Vec::new() };
        if step == 0 {
            grid.by_tick(window)
        } else {
            grid.by_step(window, from, to)
        }
        grid
    }

    /// A point per tick, and one without a value in each gap.
    fn by_tick(&mut self, window: &[(i64, u32, u32)]) {
        for (at, row) in window.iter().enumerate() {
            if at > 0 && !self.pairs[self.first + at] {
                let before = window[at - 1].0;
                self.times.push(before + (row.0 - before) / 2);
            }
            self.point.push(self.times.len());
            self.times.push(row.0);
        }
    }

    fn by_step(&mut self, window: &[(i64, u32, u32)], from: UnixMs, to: UnixMs) {
        let origin = from.0.div_euclid(self.step);
        let count = (to.0.div_euclid(self.step) - origin + 1).clamp(0, MAX_POINTS + 1);
        self.times.extend((0..count).map(|at| (origin + at) * self.step));
        self.point.extend(window.iter().map(|row| (row.0.div_euclid(self.step) - origin) as usize));
    }

    /// Ms between points; 0 when the points are the ticks themselves.
    pub(super) const fn step_ms(&self) -> i64 {
        self.step
    }

    /// Reads one line: the mean of each point's values, rates weighed by their time.
    pub(super) fn line(&self, table: &Table, line: &Line<'_>) -> Series {
        let mut sums = vec![(0.0f64, 0.0f64); self.times.len()];
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for (offset, point) in self.point.iter().enumerate() {
            let row = self.first + offset;
            let Some((value, weight)) = self.value(table, line, row, &mut before, &mut now) else { continue };
            if let Some(sum) = sums.get_mut(*point) {
                sum.0 += value * weight;
                sum.1 += weight;
            }
        }
        let value = |(sum, weight): (f64, f64)| (weight > 0.0).then(|| sum / weight);
        Series {
            metric: line.reading.name.to_owned(),
            label: line.label.to_owned(),
            unit: line.reading.unit,
            points: self.times.iter().copied().zip(sums.into_iter().map(value)).collect(),
        }
    }

    fn value(
        &self,
        table: &Table,
        line: &Line<'_>,
        row: usize,
        before: &mut Vec<i64>,
        now: &mut Vec<i64>,
    ) -> Option<(f64, f64)> {
        table.pick(row, line.inputs, now)?;
        let segment = table.rows[row].1 as usize;
        let scales = &table.segments[segment].scales;
        let mut picked = [1.0; rates::MAX_INPUTS];
        for (at, input) in line.inputs.iter().enumerate() {
            *picked.get_mut(at)? = scales[*input];
        }
        let scales = &picked[..line.inputs.len()];
        if !line.reading.is_rate() {
            return Some((line.reading.eval(None, now, scales)?, 1.0));
        }
        if !self.pairs[row] {
            return None;
        }
        let dt = table.rows[row].0 - table.rows[row - 1].0;
        table.pick(row - 1, line.inputs, before)?;
        Some((line.reading.eval(Some((before, dt)), now, scales)?, dt as f64))
    }
}

/// 0 for a point per tick, else the step: where ticks are no closer than that, they are the points.
fn step(window: &[(i64, u32, u32)], from: UnixMs, to: UnixMs, resolution: Resolution) -> i64 {
    let span = to.since(from).max(1);
    let asked = match resolution {
        Resolution::Step(ms) => ms.max(1),
        Resolution::Points(points) => span / i64::from(points.clamp(1, MAX_POINTS as u32)),
    };
    let floor = (span + MAX_POINTS - 1) / MAX_POINTS;
    let dts: Vec<i64> = window.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let interval = median(&dts).unwrap_or(0);
    if asked < 2 * interval.max(1) && (window.len() as i64) <= MAX_POINTS {
        return 0;
    }
    match resolution {
        Resolution::Step(ms) => ms.max(floor).max(1),
        Resolution::Points(_) => {
            let least = asked.max(floor);
            STEPS_MS.into_iter().find(|step| *step >= least).unwrap_or(least)
        }
    }
}
