//! How the host's probes stand, as the collector's prober told it last: shown in every tick, so that a result
//! is kept and sent like any other sample.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sysop_common::metric;
use sysop_common::probe::{Outcome, ProbeId};

use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor};

/// Where the prober writes and the sensor reads. Clones are one board.
#[derive(Debug, Clone, Default)]
pub struct ProbeBoard(Arc<Mutex<BTreeMap<ProbeId, Row>>>);

/// A probe's last result.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Results so far: a new one shows by it.
    runs: u64,
    outcome: Outcome,
}

impl ProbeBoard {
    /// Tells a new result.
    pub fn tell(&self, id: ProbeId, outcome: Outcome) {
        let mut rows = self.rows();
        let runs = rows.get(&id).map_or(0, |row| row.runs) + 1;
        rows.insert(id, Row { runs, outcome });
    }

    /// Forgets all probes but those that `stay`.
    pub fn keep(&self, stay: impl Fn(ProbeId) -> bool) {
        self.rows().retain(|id, _| stay(*id));
    }

    /// The last result of a probe, and how many there were.
    #[must_use]
    pub fn last(&self, id: ProbeId) -> Option<(u64, Outcome)> {
        self.rows().get(&id).map(|row| (row.runs, row.outcome))
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<ProbeId, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sensor of probes.
pub(super) struct Probes(pub(super) ProbeBoard);

impl Sensor for Probes {
    fn name(&self) -> &'static str {
        "probes"
    }

    fn read(&mut self, _: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        for (id, Row { runs, outcome }) in self.0.rows().iter() {
            let label = id.to_string();
            out.put_labelled(metric::PROBE_RUNS, &label, Some(*runs));
            out.put_labelled(metric::PROBE_STATE, &label, Some(outcome.state().number().into()));
            out.put_labelled(metric::PROBE_REASON, &label, Some(outcome.reason.number().into()));
            out.put_signed(metric::PROBE_NUMBER, &label, Some(outcome.number));
            out.put_labelled(metric::PROBE_TIME, &label, outcome.micros);
            out.put_signed(metric::PROBE_DAYS, &label, outcome.days);
        }
        Ok(())
    }
}
