//! Hosts that send nothing any more: each for itself, or many at once as one trouble of the controller
//! or its network.

use sysop_common::finding::{Category, Finding, Severity, Value, fingerprint};
use sysop_common::ids::HostId;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::Rows;
use crate::analyse::messages::Text;

/// So many beats may be missed.
const MISSED: i64 = 3;
/// A host whose samples come unevenly is given so many standard deviations beside the usual time between
/// two: phi of 8 in the accrual detector of Hayashibara and others (2004), once in 10^8 by chance. But
/// never more than this many intervals, and half a minute.
const DEVIATIONS: f64 = 5.6;
const MOST_INTERVALS: i64 = 6;
/// A host that was on its way down when it was last heard of is given the time of a restart.
const RESTART_MS: i64 = 5 * MINUTE_MS;
/// An agent that was stopped in order is given the time of an update.
const STOPPED_MS: i64 = 3 * MINUTE_MS;
/// A break shorter than this is not silence, whatever the interval: a change of transport takes 5 s.
const LEAST_MS: i64 = 15 * SECOND_MS;
/// After its own start the controller waits this long for hosts to come back.
const START_MS: i64 = MINUTE_MS;
/// Hosts that fell silent within this time fell silent at once.
const TOGETHER_MS: i64 = MINUTE_MS;
/// At least so many hosts are many.
const MANY: usize = 3;

/// A host's sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Which host.
    pub host: HostId,
    /// When something last came from it, by the controller's clock; 0 when nothing ever did.
    pub last: UnixMs,
    /// Time between two samples, ms.
    pub interval_ms: i64,
    /// How unevenly samples arrive: standard deviation of the time between two, ms.
    pub jitter_ms: i64,
    /// Its services were being stopped when it was last heard of.
    pub leaving: bool,
    /// Its agent said goodbye: somebody stopped it.
    pub stopped: bool,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether an incident of its silence is open.
    pub open: bool,
}

/// Silent hosts: those with a finding of their own, and one for the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silences {
    /// Hosts whose own finding is due.
    pub hosts: Vec<(HostId, Finding)>,
    /// The fleet's.
    pub fleet: Option<Finding>,
}

/// What to do about `beats` at `now`, for a controller that started at `started`. With `fleet_open`
/// the fleet's incident is open: it stays until fewer than a quarter of the hosts are silent.
#[must_use]
pub fn look(beats: &[Beat], started: UnixMs, now: UnixMs, fleet_open: bool, say: Text) -> Silences {
    let known: Vec<&Beat> = beats.iter().filter(|beat| beat.last.0 > 0).collect();
    let silent: Vec<&Beat> = known.iter().copied().filter(|beat| is_silent(beat, started, now)).collect();
    // Those with an incident of their own were silent before.
    let newly: Vec<&Beat> = silent.iter().copied().filter(|beat| !beat.open).collect();
    let last = newly.iter().map(|beat| beat.last).max().unwrap_or_default();
    let together = newly.iter().filter(|beat| last.since(beat.last) <= TOGETHER_MS).count();
    let at_once = together >= MANY && together * 2 >= known.len() - (silent.len() - newly.len());
    let lasting = fleet_open && newly.len() * 4 >= known.len() && !newly.is_empty();
    let mut found = Silences::default();
    if at_once || lasting {
        found.fleet = Some(fleet(say, &newly, known.len(), last, now));
    }
    let own = |beat: &&Beat| beat.open || found.fleet.is_none();
    found.hosts = silent.iter().copied().filter(own).map(|beat| (beat.host, host(say, beat, now))).collect();
    found
}

fn is_silent(beat: &Beat, started: UnixMs, now: UnixMs) -> bool {
    let threshold = patience(beat);
    let waited = now.since(beat.last) > threshold;
    // An open incident goes on until a beat comes; a new one waits for hosts to come back first.
    waited && (beat.open || now.since(started) > threshold + START_MS)
}

/// How long nothing may come from a host.
fn patience(beat: &Beat) -> i64 {
    let missed = (MISSED * beat.interval_ms + 2 * SECOND_MS).max(LEAST_MS);
    let uneven = beat.interval_ms + (DEVIATIONS * beat.jitter_ms.max(0) as f64) as i64;
    let most = MOST_INTERVALS * beat.interval_ms + 30 * SECOND_MS;
    let patience = missed.max(uneven.min(most));
    match (beat.leaving, beat.stopped) {
        (true, _) => patience.max(RESTART_MS),
        (false, true) => patience.max(STOPPED_MS),
        (false, false) => patience,
    }
}

fn host(say: Text, beat: &Beat, now: UnixMs) -> Finding {
    let mut rows = Rows::default();
    let interval = say.span(beat.interval_ms);
    let text = say.say("silence.host.since", &[("interval", &interval)]);
    rows.value(("host.last_seen", ""), beat.last, Value::Number(beat.last.0), text);
    let cause = if beat.leaving {
        say.say("silence.host.left", &[])
    } else if beat.stopped {
        say.say("silence.host.stopped", &[])
    } else if beat.connected {
        say.say("silence.host.stuck", &[])
    } else {
        say.say("silence.host.gone", &[])
    };
    let mut finding = silence(Category::Silence, "host", beat.last, now, rows);
    finding.title = say.say("silence.host.title", &[]);
    finding.cause = cause;
    finding.confidence = 95;
    finding
}

fn fleet(say: Text, silent: &[&Beat], known: usize, last: UnixMs, now: UnixMs) -> Finding {
    let mut rows = Rows::default();
    let text = say.say("silence.fleet.since", &[("silent", &silent.len()), ("known", &known)]);
    rows.value(
        ("fleet.silent", ""),
        last,
        Value::Number(i64::try_from(silent.len()).unwrap_or(i64::MAX)),
        text,
    );
    let mut finding = silence(Category::FleetSilence, "fleet", last, now, rows);
    finding.title = say.say("silence.fleet.title", &[]);
    finding.cause = say.say("silence.fleet.cause", &[]);
    finding.confidence = 90;
    finding
}

fn silence(category: Category, entity: &str, onset: UnixMs, now: UnixMs, rows: Rows) -> Finding {
    Finding {
        category,
        entity: entity.to_owned(),
        severity: Severity::Critical,
        confidence: 100,
        onset,
        last_true: now,
        active: true,
        title: String::new(),
        cause: String::new(),
        culprit: None,
        evidence: rows.0,
        not_observed: Vec::new(),
        caused_by: None,
    }
}

/// Fingerprint of a host's own silence.
#[must_use]
pub fn host_fingerprint() -> String {
    fingerprint(Category::Silence, "host")
}

/// Fingerprint of the fleet's silence.
#[must_use]
pub fn fleet_fingerprint() -> String {
    fingerprint(Category::FleetSilence, "fleet")
}
