//! Gathers what a question about an incident is made of.

use sysop_common::sample::{Process, Unit};
use sysop_common::time::UnixMs;

use super::evidence::{Caps, Material, Past, Sheet, sheet};
use super::prompt::{NOTE, Notes};
use super::redact::Redactor;
use super::sanitise::prose;
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::model_prompts::{self, Note};
use crate::store::samples::{Latest, SampleStore};
use crate::store::{Db, StoreError, host_facts};

/// What is known of an incident beside itself.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The incident.
    pub incident: Incident,
    /// Its host's name.
    pub host: String,
    /// Processes of the newest sample, with their share of one core in percent.
    pub processes: Vec<(Process, Option<f64>)>,
    /// Units of the newest sample.
    pub units: Vec<Unit>,
    /// Like incidents of the past.
    pub past: Vec<Past>,
    /// What operators say.
    pub notes: Notes,
    /// The time.
    pub now: UnixMs,
}

impl Gathered {
    /// Reads it.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn read(
        db: &Db,
        samples: &SampleStore,
        incident: Incident,
        now: UnixMs,
    ) -> Result<Self, StoreError> {
        let (mut host, mut notes, mut past) = (String::new(), Vec::new(), Vec::new());
        let latest = incident.host.and_then(|host| samples.latest(host));
        if let Some(id) = incident.host {
            let mut conn = db.reader().await?;
            host = host_facts::get(&mut conn, id).await?.map(|facts| facts.name).unwrap_or_default();
            notes = model_prompts::of_host(&mut conn, id).await?;
            drop(conn);
            let filter = IncidentFilter {
                host: Some(id),
                open: Some(false),
                limit: 50,
                before: Some(incident.id),
                ..Default::default()
            };
            let found = incidents::list(db, filter).await?;
            past = found
                .iter()
                .filter(|other| other.category == incident.category)
                .filter_map(old)
                .take(3)
                .collect();
        }
        Ok(Self {
            host,
            processes: latest.as_ref().map(processes_of).unwrap_or_default(),
            units: latest.map(|latest| latest.now.tick.units.clone()).unwrap_or_default(),
            past,
            notes: effective(&notes),
            incident,
            now,
        })
    }

    /// The evidence: at most `caps` of it; with `nameless`, names that hosts chose are left out.
    #[must_use]
    pub fn sheet(&self, caps: Caps, nameless: bool, redactor: &mut Redactor) -> Sheet {
        let material = Material {
            incident: &self.incident,
            host: &self.host,
            processes: &self.processes,
            units: &self.units,
            past: &self.past,
            now: self.now,
        };
        redactor.withhold(nameless);
        sheet(&material, caps, redactor)
    }
}

fn old(incident: &Incident) -> Option<Past> {
    let repaired = incident.close_why.as_deref().is_some_and(|why| why.starts_with("repaired"));
    Some(Past {
        category: incident.category,
        entity: incident.entity.clone(),
        closed_at: incident.closed_at?,
        repaired,
    })
}

/// The note of the narrowest scope that has one: the host's own, those of its labels, the general one.
fn effective(notes: &[Note]) -> Notes {
    let of = |prefix: &str| notes.iter().filter(|note| note.scope.starts_with(prefix)).collect::<Vec<_>>();
    let chosen = ["host:", "label:", "global"].into_iter().map(of).find(|found| !found.is_empty());
    let mut redactor = Redactor::default();
    let text = |note: &&Note| prose(&redactor.apply(&note.text), NOTE);
    Notes { texts: chosen.unwrap_or_default().iter().map(text).take(4).collect() }
}

/// Processes of a sample, those that use most of the processors first, with their share of one core in
/// percent.
#[must_use]
pub fn processes_of(latest: &Latest) -> Vec<(Process, Option<f64>)> {
    let before = latest.previous.as_deref();
    let span = before.map(|before| latest.now.at.since(before.at)).filter(|ms| *ms > 0);
    let share = |process: &Process| {
        let same = |p: &&Process| p.pid == process.pid && p.start_ticks == process.start_ticks;
        let old = before?.tick.processes.iter().find(same)?;
        Some(process.cpu_ms.checked_sub(old.cpu_ms)? as f64 / span? as f64 * 100.0)
    };
    let mut all: Vec<(Process, Option<f64>)> =
        latest.now.tick.processes.iter().map(|process| (process.clone(), share(process))).collect();
    let used = |entry: &(Process, Option<f64>)| entry.1.unwrap_or(0.0);
    all.sort_by(|a, b| used(b).total_cmp(&used(a)).then(b.0.rss_bytes.cmp(&a.0.rss_bytes)));
    all
}
