//! Series over memory, tail and parts as one.

use std::sync::Arc;

use sysop_common::ids::{Epoch, HostId, SchemaId};
use sysop_common::metric::MetricId;
use sysop_common::sample::NOT_OBSERVED;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::SampleStore;
use super::ints::Damaged;
use super::part::Part;
use super::points::{Grid, Line, Table};
use super::rates::{self, Reading};
use super::types::{Boot, NamedSchema, Resolution, SeriesRequest, SeriesSet, Stored};
use super::{memory, parts, positions};
use crate::store::StoreError;

/// Read before the window, so that its first rate has a tick before it: 2.5 times the longest interval.
const LEAD_MS: i64 = 150 * SECOND_MS;
/// Most series in one answer.
const MAX_SERIES: usize = 512;
/// Most points per series.
pub(super) const MAX_POINTS: i64 = 11_000;

impl SampleStore {
    /// Reads series. A name that no metric has yields no series.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn series(&self, request: &SeriesRequest) -> Result<SeriesSet, StoreError> {
        let (from, to) = (request.from, request.to.max(request.from));
        // Memory first: what moves into a part meanwhile is then seen twice, and never not at all.
        let _reading = self.inner.readings.acquire().await.map_err(|e| StoreError::corrupt("series", e))?;
        let recent = self.recent_entries(request.host, from.plus(-LEAD_MS));
        let rows = {
            let mut db = self.inner.db.read().acquire().await?;
            parts::overlapping(&mut db, request.host, from.plus(-LEAD_MS), to, request.metrics.len()).await?
        };
        let mut loaded = Vec::with_capacity(rows.len());
        for row in rows {
            loaded.push((self.schema(row.schema).await?, row));
        }
        let wanted = request.metrics.clone();
        let resolution = request.resolution;
        let built =
            tokio::task::spawn_blocking(move || build(&recent, &loaded, &wanted, from, to, resolution))
                .await
                .map_err(|e| StoreError::corrupt("series", e))?
                .map_err(|e| StoreError::corrupt("part", e))?;
        let mut db = self.inner.db.read().acquire().await?;
        let gaps = positions::gaps(&mut db, request.host, from, to).await?;
        Ok(SeriesSet { from: from.0, to: to.0, step_ms: built.0, series: built.1, gaps })
    }

    fn recent_entries(&self, host: HostId, since: UnixMs) -> Vec<memory::Entry> {
        self.inner.memory.get(host).map_or_else(Vec::new, |memory| memory::lock(&memory).since(since))
    }
}

/// What is read: a reading and one label of it.
struct Wanted {
    reading: Reading,
    label: String,
    /// Positions of the inputs among the table's columns.
    inputs: Vec<usize>,
}

fn build(
    recent: &[memory::Entry],
    loaded: &[(Arc<NamedSchema>, parts::PartRow)],
    metrics: &[(String, Option<String>)],
    from: UnixMs,
    to: UnixMs,
    resolution: Resolution,
) -> Result<(i64, Vec<super::types::Series>), Damaged> {
    let mut schemas: Vec<&NamedSchema> = loaded.iter().map(|(schema, _)| &**schema).collect();
    schemas.extend(recent.iter().map(|entry| &*entry.chain.schema));
    schemas.sort_by_key(|schema| schema.id);
    schemas.dedup_by_key(|schema| schema.id);
    let (wanted, columns) = choose(metrics, &schemas);

    let mut table = Table::new(columns.len());
    for (schema, row) in loaded {
        add_part(&mut table, schema, row, &columns)?;
    }
    add_recent(&mut table, recent, &columns);
    table.sort();
    let grid = Grid::new(&table, from, to, resolution);
    let series = wanted
        .iter()
        .map(|wanted| {
            grid.line(
                &table,
                &Line { reading: &wanted.reading, label: &wanted.label, inputs: &wanted.inputs },
            )
        })
        .collect();
    Ok((grid.step_ms(), series))
}

/// Resolves names and labels to columns. The columns are the union of all that is needed.
fn choose(
    metrics: &[(String, Option<String>)],
    schemas: &[&NamedSchema],
) -> (Vec<Wanted>, Vec<(MetricId, String)>) {
    let (mut wanted, mut columns) = (Vec::new(), Vec::<(MetricId, String)>::new());
    for (name, label) in metrics {
        let Some(reading) = rates::reading(name) else { continue };
        for label in label.as_ref().map_or_else(|| labels(&reading, schemas), |label| vec![label.clone()]) {
            if wanted.len() >= MAX_SERIES {
                return (wanted, columns);
            }
            let inputs = reading.inputs.iter().map(|id| {
                let found = columns.iter().position(|(other, text)| other == id && *text == label);
                found.unwrap_or_else(|| {
                    columns.push((*id, label.clone()));
                    columns.len() - 1
                })
            });
            let inputs = inputs.collect();
            wanted.push(Wanted { reading, label, inputs });
        }
    }
    (wanted, columns)
}

/// Labels under which the first input occurs, numbers in their own order.
fn labels(reading: &Reading, schemas: &[&NamedSchema]) -> Vec<String> {
    let first = reading.inputs.first();
    let mut labels: Vec<String> = schemas
        .iter()
        .flat_map(|schema| &schema.schema.columns)
        .filter(|column| Some(&column.metric) == first)
        .map(|column| column.label.clone())
        .collect();
    labels.sort_by(|a, b| (a.parse::<u32>().ok(), a).cmp(&(b.parse::<u32>().ok(), b)));
    labels.dedup();
    labels
}

fn add_part(
    table: &mut Table,
    schema: &NamedSchema,
    row: &parts::PartRow,
    columns: &[(MetricId, String)],
) -> Result<(), Damaged> {
    let part = Part::open(&row.body)?;
    let mut values = Vec::with_capacity(columns.len());
    let mut scales = Vec::with_capacity(columns.len());
    for (metric, label) in columns {
        let at = schema.schema.position(*metric, label);
        values.push(at.map(|at| part.column(at)).transpose()?);
        scales.push(scale(schema, at));
    }
    table.add(row.epoch, row.boot, part.times()?, part.seqs()?, values, scales);
    Ok(())
}

/// Frames of memory: unfolded one by one, of each only the needed columns are kept.
fn add_recent(table: &mut Table, recent: &[memory::Entry], columns: &[(MetricId, String)]) {
    let mut run: Option<Run> = None;
    memory::unfold(recent, |stored| {
        if run.as_ref().is_none_or(|run| !run.takes(&stored))
            && let Some(run) = run.replace(Run::new(&stored, columns))
        {
            run.add_to(table);
        }
        if let Some(run) = &mut run {
            run.push(&stored);
        }
        true
    });
    if let Some(run) = run {
        run.add_to(table);
    }
}

/// Ticks of one epoch and schema that follow each other.
struct Run {
    epoch: Epoch,
    boot: Boot,
    schema: SchemaId,
    at: Vec<Option<usize>>,
    scales: Vec<f64>,
    times: Vec<i64>,
    seqs: Vec<u64>,
    values: Vec<Vec<i64>>,
}

impl Run {
    fn new(first: &Stored, columns: &[(MetricId, String)]) -> Self {
        let at: Vec<Option<usize>> =
            columns.iter().map(|(metric, label)| first.schema.schema.position(*metric, label)).collect();
        let scales = at.iter().map(|at| scale(&first.schema, *at)).collect();
        let values = vec![Vec::new(); columns.len()];
        let (times, seqs) = (Vec::new(), Vec::new());
        Self {
            epoch: first.epoch,
            boot: first.boot,
            schema: first.schema.id,
            at,
            scales,
            times,
            seqs,
            values,
        }
    }

    fn takes(&self, stored: &Stored) -> bool {
        (self.epoch, self.boot, self.schema) == (stored.epoch, stored.boot, stored.schema.id)
    }

    fn push(&mut self, stored: &Stored) {
        self.times.push(stored.at.0);
        self.seqs.push(stored.tick.seq.0);
        for (at, values) in self.at.iter().zip(&mut self.values) {
            if let Some(at) = at {
                values.push(stored.tick.values.get(*at).copied().unwrap_or(NOT_OBSERVED));
            }
        }
    }

    fn add_to(self, table: &mut Table) {
        let values = self.at.iter().zip(self.values).map(|(at, values)| at.map(|_| values)).collect();
        table.add(self.epoch, self.boot, self.times, self.seqs, values, self.scales);
    }
}

fn scale(schema: &NamedSchema, at: Option<usize>) -> f64 {
    at.and_then(|at| schema.schema.columns.get(at)).map_or(1.0, |column| f64::from(column.scale))
}

/// Steps that a grid may have; a step of a grid is rounded up to one of them.
pub(super) const STEPS_MS: [i64; 14] = [
    SECOND_MS,
    2 * SECOND_MS,
    5 * SECOND_MS,
    10 * SECOND_MS,
    20 * SECOND_MS,
    30 * SECOND_MS,
    MINUTE_MS,
    2 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    20 * MINUTE_MS,
    30 * MINUTE_MS,
    60 * MINUTE_MS,
    240 * MINUTE_MS,
];
