//! Fills the list of probes, and the part of a host's page.

use sysop_common::ids::HostId;
use sysop_common::probe::ProbeId;
use sysop_common::time::{DAY_MS, MINUTE_MS};

use super::ProbeRow;
use crate::probe::says;
use crate::store::StoreError;
use crate::store::probes::standing::{self, Bucket, Standing};
use crate::store::probes::{self, Probe, RunBy};
use crate::web::pages::source::{Source, named};

/// Length of a point of the small line.
const QUARTER_MS: i64 = 15 * MINUTE_MS;

/// Probes with how they stand, by runner, those that `wanted` keeps, failing ones first.
///
/// # Errors
/// Only the store's.
pub async fn rows(
    source: Source<'_>,
    wanted: impl Fn(&Probe, Option<&Standing>) -> bool,
) -> Result<Vec<ProbeRow>, StoreError> {
    let probes = probes::list(source.db).await?;
    let standings = standing::all(source.db).await?;
    let day = standing::quarters(source.db, source.now.plus(-DAY_MS)).await?;
    let runs_on = |probe: &Probe| match probe.settings.run_by {
        RunBy::Host(host) => Some(host),
        _ => None,
    };
    let hosts =
        standings.iter().filter_map(|standing| standing.runner).chain(probes.iter().filter_map(runs_on));
    let names = source.names(hosts).await?;
    let runner = |probe: &Probe, standing: Option<&Standing>| match (
        standing.and_then(|standing| standing.runner).or(runs_on(probe)),
        &probe.settings.run_by,
    ) {
        (Some(host), _) => named(&names, host).name,
        (None, RunBy::Label { name, value }) => format!("hosts with {name}={value}"),
        (None, _) => "the controller".to_owned(),
    };
    let mut rows = Vec::new();
    for probe in &probes {
        let own: Vec<&Standing> = standings.iter().filter(|standing| standing.probe == probe.id).collect();
        let own: Vec<Option<&Standing>> =
            if own.is_empty() { vec![None] } else { own.into_iter().map(Some).collect() };
        for standing in own.into_iter().filter(|standing| wanted(probe, *standing)) {
            let quarters =
                standing.and_then(|s| day.get(&(probe.id, s.runner))).map_or(&[][..], Vec::as_slice);
            let (line, uptime) = day_of(quarters, source.now.0);
            rows.push(ProbeRow {
                id: probe.id.0,
                name: probe.settings.name.clone(),
                asks: format!("{} {}", probe.settings.check.kind(), probe.settings.check.target()),
                runner: runner(probe, standing),
                state: standing.map(|standing| standing.outcome.state()),
                failing: standing.is_some_and(|standing| standing.failing_since.is_some()),
                enabled: probe.settings.enabled,
                says: standing.map_or_else(String::new, |s| says(&s.outcome)),
                at_ms: standing.map(|standing| standing.at.0),
                took_ms: standing.and_then(|s| s.outcome.micros).map(|micros| micros as f64 / 1_000.0),
                line,
                uptime,
            });
        }
    }
    rows.sort_by_key(|row| !row.failing);
    Ok(rows)
}

/// The small line of a day, and the share of answers in it.
fn day_of(quarters: &[Bucket], now: i64) -> (Vec<Option<f32>>, Option<f64>) {
    let points = (DAY_MS / QUARTER_MS) as usize;
    let first = now.div_euclid(QUARTER_MS) - points as i64 + 1;
    let mut line = vec![None; points];
    let (mut up, mut down) = (0, 0);
    for quarter in quarters {
        (up, down) = (up + quarter.up, down + quarter.down);
        let place = usize::try_from(quarter.at.div_euclid(QUARTER_MS) - first).ok();
        if let Some(point) = place.and_then(|place| line.get_mut(place)).filter(|_| quarter.timed > 0) {
            *point = Some((quarter.micros_sum as f64 / quarter.timed as f64 / 1_000.0) as f32);
        }
    }
    let told = up + down;
    (line, (told > 0).then(|| up as f64 / told as f64))
}

/// The probes of a host: those that it runs, and those of the controller that are on its card. What the table of
/// coverage and the host's page show of probes.
///
/// # Errors
/// Only the store's.
pub async fn of_host(source: Source<'_>, host: HostId) -> Result<Vec<ProbeRow>, StoreError> {
    rows(source, |probe, standing| {
        standing.and_then(|standing| standing.runner) == Some(host)
            || probe.settings.host == Some(host)
            || (standing.is_none() && probe.settings.run_by == RunBy::Host(host))
    })
    .await
}

/// A number in an address.
#[must_use]
pub fn known(text: &str) -> Option<ProbeId> {
    text.parse().ok()
}
