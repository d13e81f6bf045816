//! Who used more of something than before: services by their cgroups' counters, which also count what
//! lived shortly, then processes that belong to no service.

use sysop_common::sample::{Process, Unit};
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::memory::Who;
use super::{HostInput, Look, grown};
use crate::analyse::attribute::{Attribution, Timed, attribute_timed};

/// Rates are taken over at least this long: cgroups may be read at every sixth sample only.
const STEP_MS: i64 = 30 * SECOND_MS;
/// What is compared with the time before.
const NOW_MS: i64 = MINUTE_MS;
/// When the rise is less than this share of the whole, it began before the window: then all counts.
const LEAST_RISE: f64 = 0.3;

/// What can be somebody's: amounts that only grow, per service and per process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// CPU time in ms.
    Cpu,
    /// Bytes read and written.
    Io,
}

impl Use {
    fn unit(self, unit: &Unit) -> Option<u64> {
        match self {
            Self::Cpu => unit.cpu_us.map(|us| us / 1_000),
            Self::Io => {
                unit.io_read_bytes.zip(unit.io_write_bytes).map(|(read, wrote)| read.saturating_add(wrote))
            }
        }
    }

    fn process(self, process: &Process) -> Option<u64> {
        match self {
            Self::Cpu => Some(process.cpu_ms),
            Self::Io => process
                .io_read_bytes
                .zip(process.io_write_bytes)
                .map(|(read, wrote)| read.saturating_add(wrote)),
        }
    }
}

/// Who is behind the use of something since `onset`. `whole` is the host's own rate per second between
/// two looks. `None` when nobody's use was observed.
pub(super) fn blame(
    input: &HostInput,
    of: Use,
    onset: UnixMs,
    whole: impl Fn(Look<'_>, Look<'_>) -> Option<f64>,
) -> Option<Attribution<Who>> {
    let looks = spaced(input);
    let host = track(&looks, whole);
    let (now, before) = host.levels(onset)?;
    let mut tracks: Vec<(Who, Track)> = Vec::new();
    let latest = looks.last()?;
    for unit in latest.units() {
        let rates = track(&looks, |a, b| {
            let first = match a.unit(&unit.name) {
                Some(known) => of.unit(known),
                // No services at all: they were not read, so that nobody is new.
                None if a.units().is_empty() => None,
                None => Some(0),
            };
            rate(a, b, grown(first, of.unit(b.unit(&unit.name)?))?)
        });
        tracks.push((Who::Unit(unit.name.to_string()), rates));
    }
    // What a session's scope holds is in no service's counters.
    for process in latest.processes().iter().filter(|process| latest.unit(&process.unit).is_none()) {
        let same = |look: Look<'_>| {
            let mut all = look.processes().iter();
            all.find(|p| p.pid == process.pid && p.start_ticks == process.start_ticks).map(|p| of.process(p))
        };
        let rates = track(&looks, |a, b| {
            // Not among the top ones before: what it used then is not known, only that it was little.
            let now = same(b)??;
            let first = same(a).map_or(Some(now), |known| known);
            rate(a, b, grown(first, Some(now))?)
        });
        let who = Who::Process {
            pid: process.pid,
            start_ticks: process.start_ticks,
            comm: process.comm.to_string(),
            user: process.user.to_string(),
        };
        tracks.push((who, rates));
    }
    let rise = now - before;
    let all = rise < LEAST_RISE * now;
    let parts: Vec<Timed<Who>> = tracks
        .into_iter()
        .filter_map(|(who, track)| {
            let (here, usual) = track.levels(onset)?;
            let began = track.began(here, usual);
            Some(Timed {
                who,
                amount: if all { here } else { here - usual },
                onset: began,
                fresh: track.fresh,
            })
        })
        .collect();
    if parts.is_empty() {
        return None;
    }
    // When all of it counts, when each began does not.
    Some(attribute_timed(if all { now } else { rise }, (!all).then_some(onset), &parts))
}

/// Looks of the newest boot, at least [`STEP_MS`] apart, the newest among them.
fn spaced(input: &HostInput) -> Vec<Look<'_>> {
    let mut looks: Vec<Look<'_>> = Vec::new();
    for look in input.window.looks().rev() {
        match looks.last() {
            Some(later) if later.at().since(look.at()) < STEP_MS => {}
            Some(later) if !later.same_boot(look) => break,
            _ => looks.push(look),
        }
    }
    looks.reverse();
    looks
}

fn rate(a: Look<'_>, b: Look<'_>, amount: u64) -> Option<f64> {
    let ms = b.at().since(a.at());
    (ms > 0).then(|| amount as f64 * 1_000.0 / ms as f64)
}

/// Rates over time, oldest first, each with the end of its stretch.
struct Track {
    rates: Vec<(UnixMs, f64)>,
    /// Nothing was there at the beginning.
    fresh: bool,
}

fn track(looks: &[Look<'_>], rate: impl Fn(Look<'_>, Look<'_>) -> Option<f64>) -> Track {
    let rates: Vec<Option<(UnixMs, f64)>> =
        looks.windows(2).map(|pair| Some((pair[1].at(), rate(pair[0], pair[1])?))).collect();
    let fresh =
        rates.len() > 2 && rates.first().is_some_and(|first| first.is_none_or(|(_, rate)| rate <= 0.0));
    Track { rates: rates.into_iter().flatten().collect(), fresh }
}

impl Track {
    /// The level now, and the usual one before `onset`; 0 where there was none.
    fn levels(&self, onset: UnixMs) -> Option<(f64, f64)> {
        let end = self.rates.last()?.0;
        let newest: Vec<f64> =
            self.rates.iter().filter(|(at, _)| end.since(*at) < NOW_MS).map(|(_, rate)| *rate).collect();
        let now = newest.iter().sum::<f64>() / newest.len().max(1) as f64;
        let mut before: Vec<f64> =
            self.rates.iter().filter(|(at, _)| *at <= onset).map(|(_, rate)| *rate).collect();
        let usual = crate::analyse::statistics::robust::median(&mut before).unwrap_or(0.0);
        Some((now, usual))
    }

    /// When the level of now began: the first of the unbroken stretch that is nearer to it than to the
    /// usual one.
    fn began(&self, now: f64, usual: f64) -> UnixMs {
        let middle = (now + usual) / 2.0;
        let stretch = self.rates.iter().rev().take_while(|(_, rate)| *rate >= middle);
        stretch.last().map_or(UnixMs(0), |(at, _)| at.plus(-STEP_MS))
    }
}
