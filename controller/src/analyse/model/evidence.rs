//! What a model is shown of an incident: numbered rows with handles, under a cap of bytes. Pure.
//!
//! Only numbers, words of our own and the quoted table of names are in it: no sentence that a host
//! wrote, and none of the analyser's own sentences either, since those repeat the host's names.

mod build;
mod render;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use sysop_common::action::Action;
use sysop_common::finding::{Category, Offer};
use sysop_common::sample::{Process, Unit};
use sysop_common::time::UnixMs;

use super::names::Names;
use super::redact::Redactor;
use crate::store::incidents::Incident;

pub use build::hard;

/// Most bytes of the part that differs from request to request: 1,500 tokens at 2.5 bytes each.
pub const MOST_BYTES: usize = 3_750;

/// What is known of an incident.
#[derive(Debug, Clone, Copy)]
pub struct Material<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// Its host's name.
    pub host: &'a str,
    /// Processes of the newest sample, with their share of one core in percent where it is known.
    pub processes: &'a [(Process, Option<f64>)],
    /// Units of the newest sample.
    pub units: &'a [Unit],
    /// Like incidents of the past on this host, newest first.
    pub past: &'a [Past],
    /// The time.
    pub now: UnixMs,
}

/// An incident of the past.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Past {
    /// What kind.
    pub category: Category,
    /// Of what.
    pub entity: String,
    /// When it was closed.
    pub closed_at: UnixMs,
    /// Whether a repair closed it.
    pub repaired: bool,
}

/// How many of each are shown at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Rows of evidence.
    pub rows: usize,
    /// Processes.
    pub processes: usize,
    /// Units.
    pub units: usize,
    /// Past incidents.
    pub past: usize,
}

impl Caps {
    /// All that is ever shown.
    pub const FULL: Self = Self { rows: 12, processes: 8, units: 6, past: 3 };

    /// Half of it, for a model whose answer was cut off.
    #[must_use]
    pub const fn halved(self) -> Self {
        Self { rows: self.rows.div_ceil(2), processes: self.processes / 2, units: self.units / 2, past: 0 }
    }

    /// A little less: first history, then processes, then units, then evidence.
    fn less(self) -> Option<Self> {
        match self {
            Self { past: 1.., .. } => Some(Self { past: self.past - 1, ..self }),
            Self { processes: 1.., .. } => Some(Self { processes: self.processes - 1, ..self }),
            Self { units: 1.., .. } => Some(Self { units: self.units - 1, ..self }),
            Self { rows: 2.., .. } => Some(Self { rows: self.rows - 1, ..self }),
            _ => None,
        }
    }
}

/// What a row's numbers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The value rose.
    Up,
    /// It fell.
    Down,
    /// It stayed.
    Same,
    /// A state, or one value alone.
    State,
}

impl Says {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Down, Self::Same, Self::State];

    /// The word for it in prompt and schema.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Same => "same",
            Self::State => "state",
        }
    }
}

/// A row of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `E1`.
    pub handle: String,
    /// What its numbers say.
    pub says: Says,
    /// Whether the kernel or systemd says so: true or false, without statistics.
    pub hard: bool,
    /// Handle of its metric.
    pub metric: String,
    /// Handles of what it is about: of its label, its finding's entity and culprit.
    pub about: BTreeSet<String>,
    /// Handle of its finding; empty for a reading that was asked for.
    pub finding: String,
    /// Metric, value and where, for the digest and for people.
    pub line: String,
    /// The same without what differs between equal situations.
    pub shape: String,
}

/// A finding of the analyser's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `N1`.
    pub handle: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// What kind.
    pub category: Category,
    /// Handle of its entity.
    pub entity: String,
    /// Handle of its culprit.
    pub culprit: Option<String>,
    /// Its line.
    pub line: String,
    /// The same without what differs between equal situations.
    pub shape: String,
}

/// An offer of the analyser's, by the id that it has in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `O1`.
    pub handle: String,
    /// The offer as the analyser made it.
    pub offer: Offer,
    /// Handle of its finding.
    pub finding: String,
    /// Its line.
    pub line: String,
}

impl Choice {
    /// What it would do.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.offer.action
    }
}

/// All that a request is about.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Everything with a name.
    pub names: Names,
    /// The evidence.
    pub rows: Vec<Row>,
    /// The analyser's findings, root first.
    pub findings: Vec<Shown>,
    /// The analyser's offers.
    pub offers: Vec<Choice>,
    /// The text that is sent.
    pub text: String,
    /// What it was made of: equal situations have equal digests, also on other hosts.
    pub digest: [u8; 32],
    /// How much of the material is in it.
    pub caps: Caps,
}

impl Sheet {
    /// The row with this handle.
    #[must_use]
    pub fn row(&self, handle: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.handle == handle)
    }

    /// Handles of metrics in use.
    #[must_use]
    pub fn metrics(&self) -> Vec<String> {
        let of = self.names.iter().filter(|named| named.kind == super::names::Kind::Metric);
        of.map(|named| named.handle.clone()).collect()
    }

    /// Handles that can be a cause or be affected.
    #[must_use]
    pub fn things(&self) -> Vec<String> {
        let of = self.names.iter().filter(|named| named.kind != super::names::Kind::Metric);
        of.map(|named| named.handle.clone()).collect()
    }
}

/// Puts together what is shown, at most `caps` of it and at most [`MOST_BYTES`].
#[must_use]
pub fn sheet(material: &Material<'_>, caps: Caps, redactor: &mut Redactor) -> Sheet {
    redactor.learn("host", material.host);
    let mut caps = caps;
    loop {
        let sheet = build::sheet(material, caps, redactor);
        match caps.less() {
            Some(less) if sheet.text.len() > MOST_BYTES => caps = less,
            _ => return sheet,
        }
    }
}
