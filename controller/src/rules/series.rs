//! Values of series out of the samples in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use sysop_common::time::UnixMs;

use super::MAX_INSTANCES;
use super::language::{Expression, Function, Leaf};
use crate::store::samples::rates::{self, Reading};
use crate::store::samples::{NamedSchema, Stored};

/// Most inputs of a reading.
const INPUTS: usize = 8;
/// The longest interval between two samples, in ms: beyond two and a half of it there is no rate.
const LONGEST_INTERVAL_MS: f64 = 60_000.0;

/// Labels for which an expression is judged: those that its open series have at this tick, in order, and no
/// more than [`MAX_INSTANCES`]; one empty label where it has no open series.
#[must_use]
pub fn labels(expression: &Expression, tick: &Stored) -> Vec<String> {
    if expression.free().is_none() {
        return vec![String::new()];
    }
    let free = || expression.leaves().iter().filter(|leaf| leaf.is_free());
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for leaf in free() {
        let Some(id) = leaf.reading.inputs.first() else { continue };
        found.extend(tick.labels(*id));
    }
    let wanted = |label: &&str| free().all(|leaf| leaf.takes(label));
    found.into_iter().filter(wanted).take(MAX_INSTANCES).map(str::to_owned).collect()
}

/// Values of a leaf at the ticks from `from` on, for one label of the open series; those before are left
/// unknown. `absent` has a value where there is any of those that it may mean.
#[must_use]
pub fn values(leaf: &Leaf, label: &str, ticks: &[Arc<Stored>], from: usize) -> Vec<Option<f64>> {
    if leaf.function == Some(Function::Absent) {
        return present(leaf, ticks, from);
    }
    let exact = leaf.selector.as_ref().and_then(|selector| selector.exact());
    let label = match exact {
        Some(exact) => exact,
        None if leaf.is_free() => label,
        None => "",
    };
    read(&leaf.reading, label, ticks, from)
}

fn present(leaf: &Leaf, ticks: &[Arc<Stored>], from: usize) -> Vec<Option<f64>> {
    let some = |n: usize, tick: &Arc<Stored>| {
        let id = leaf.reading.inputs.first()?;
        let mut labels = tick.labels(*id).filter(|label| leaf.takes(label));
        let before = n.checked_sub(1).map(|before| ticks[before].as_ref());
        labels.find_map(|label| {
            let raw = leaf.reading.inputs.iter().all(|id| tick.raw(*id, label).is_some());
            raw.then_some(()).and_then(|()| {
                // A counter is there also where it has no rate yet.
                rates::value(before, tick, leaf.reading.name, label).or(Some(1.0))
            })
        })
    };
    let all = ticks.iter().enumerate();
    all.map(|(n, tick)| if n < from { None } else { some(n, tick).map(|_| 1.0) }).collect()
}

/// Where a reading's inputs are in a schema.
#[derive(Clone, Copy)]
struct Places {
    at: [usize; INPUTS],
    scales: [f64; INPUTS],
}

fn places(schema: &NamedSchema, reading: &Reading, label: &str) -> Option<Places> {
    let mut places = Places { at: [0; INPUTS], scales: [1.0; INPUTS] };
    for (n, id) in reading.inputs.iter().enumerate().take(INPUTS) {
        let at = schema.schema.position(*id, label)?;
        places.at[n] = at;
        places.scales[n] = f64::from(schema.schema.columns.get(at)?.scale);
    }
    Some(places)
}

/// The values of a reading for one label, as [`rates::value`] gives them for a tick and the one before.
fn read(reading: &Reading, label: &str, ticks: &[Arc<Stored>], from: usize) -> Vec<Option<f64>> {
    let mut out = vec![None; from.min(ticks.len())];
    let count = reading.inputs.len().min(INPUTS);
    let mut known: Option<(&NamedSchema, Option<Places>)> = None;
    for n in from..ticks.len() {
        let tick = &ticks[n];
        let found = match known {
            Some((schema, places)) if std::ptr::eq(schema, &raw const *tick.schema) => places,
            _ => places(&tick.schema, reading, label),
        };
        known = Some((&tick.schema, found));
        out.push(found.and_then(|places| {
            let pick = |stored: &Stored| {
                let mut picked = [0; INPUTS];
                for (value, at) in picked.iter_mut().zip(places.at).take(count) {
                    *value = *stored.tick.values.get(at)?;
                }
                Some(picked)
            };
            let now = pick(tick)?;
            let before = n.checked_sub(1).map(|n| &ticks[n]).filter(|before| {
                let follows = || {
                    let ms = tick.at.since(before.at);
                    rates::follows(before.boot, tick.boot, ms, LONGEST_INTERVAL_MS)
                };
                reading.is_rate() && before.schema.id == tick.schema.id && follows()
            });
            let before = before.and_then(|before| Some((pick(before)?, tick.at.since(before.at))));
            let before = before.as_ref().map(|(values, ms)| (&values[..count], *ms));
            reading.eval(before, &now[..count], &places.scales[..count])
        }));
    }
    out
}

/// Times of ticks.
#[must_use]
pub fn times(ticks: &[Arc<Stored>]) -> Vec<UnixMs> {
    ticks.iter().map(|stored| stored.at).collect()
}
