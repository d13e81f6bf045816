//! One file with all that an incident rested on: samples, what was remembered, what was found, what a
//! model was told and said, policy and decisions. Offline it gives the same findings, byte for byte; with
//! another model it shows the difference.

mod make;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysop_common::ids::Epoch;
use sysop_common::sample::Schema;
use sysop_common::sample::codec::{Decoder, encode_full};
use sysop_common::time::UnixMs;

use super::correlate::Group;
use super::engine::Engine;
use super::input::{FillHistory, HostInput, HostMemory};
use super::messages::Language;
use super::model::evidence::Past;
use super::model::gather::{Gathered, processes_of};
use super::model::prompt::Notes;
use super::state::HostState;
use super::window::Window;
use crate::rules::{Compiled, States};
use crate::store::host_events::HostEvent;
use crate::store::incidents::Incident;
use crate::store::rules::Rule;
use crate::store::samples::{Boot, Latest, NamedSchema, Stored};

pub use make::make;

/// What the file is.
const FORMAT: &str = "sysop-recording";
/// Version of the file: raised when something in it changes its meaning.
const VERSION: u32 = 1;
/// Most ticks of a file.
const MOST_TICKS: usize = 4_096;

/// A file is not a recording, or of a version that is not known here.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It is not JSON of this form.
    #[error("this is not a recording of an incident: {0}")]
    Form(String),
    /// It is of another version.
    #[error(
        "the recording is of version {0}; this controller reads version {VERSION}: use the one that made it"
    )]
    Version(u32),
    /// A tick in it cannot be read.
    #[error("tick {0} of the recording is damaged: take the recording again")]
    Tick(usize),
}

/// A recording.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recording {
    format: String,
    version: u32,
    /// Version of the controller that made it.
    pub product: String,
    /// When it was made.
    pub made_at: UnixMs,
    /// The incident as it stood.
    pub incident: Incident,
    /// Its host's name.
    pub host: String,
    /// What the look rested on.
    pub look: Look,
    /// What the look gave, as JSON text: compared byte for byte.
    pub found: String,
    /// Like incidents of the past.
    pub past: Vec<Past>,
    /// What operators told the model.
    pub notes: Notes,
    /// What a model was asked and said, newest first.
    pub analyses: Vec<Value>,
    /// What policy rested on.
    pub policy: Value,
    /// Runs with their risk, and the audit's records of the incident and of them.
    pub decisions: Value,
}

/// The input of a look.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Look {
    schemas: Vec<Schema>,
    ticks: Vec<Tick>,
    fills: BTreeMap<String, FillHistory>,
    memory: HostMemory,
    /// What was learned of the host, packed, in base64.
    learned: String,
    open: BTreeSet<String>,
    /// When, kind, detail.
    events: Vec<(UnixMs, String, String)>,
    maintenance: bool,
    language: String,
    /// Rules of operators that were about the host.
    #[serde(default)]
    rules: Vec<Rule>,
    /// How far they were, packed, in base64.
    #[serde(default)]
    rule_states: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tick {
    schema: usize,
    epoch: Epoch,
    boot: u64,
    at: UnixMs,
    received_at: UnixMs,
    /// A full frame, in base64.
    frame: String,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not one, or of another version.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordingError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let form = |error: serde_json::Error| RecordingError::Form(error.to_string());
        let head: Head = serde_json::from_slice(bytes).map_err(form)?;
        if head.format != FORMAT {
            return Err(RecordingError::Form(format!("it calls itself otherwise than {FORMAT}")));
        }
        if head.version != VERSION {
            return Err(RecordingError::Version(head.version));
        }
        serde_json::from_slice(bytes).map_err(form)
    }

    /// The file's bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Runs the look again; tells what it gives now.
    ///
    /// # Errors
    /// When a tick cannot be read.
    pub fn replay(&self) -> Result<String, RecordingError> {
        self.look.run()
    }

    /// What a model would be asked about, as it stood.
    ///
    /// # Errors
    /// When a tick cannot be read.
    pub fn gathered(&self) -> Result<Gathered, RecordingError> {
        let stored = self.look.stored()?;
        let latest = stored
            .last()
            .map(|now| Latest { now: now.clone(), previous: stored.iter().rev().nth(1).cloned() });
        Ok(Gathered {
            incident: self.incident.clone(),
            host: self.host.clone(),
            processes: latest.as_ref().map(processes_of).unwrap_or_default(),
            units: latest.map(|latest| latest.now.tick.units.clone()).unwrap_or_default(),
            past: self.past.clone(),
            notes: self.notes.clone(),
            now: self.made_at,
        })
    }
}

impl Look {
    /// From what a look would work with.
    #[must_use]
    pub fn of(input: &HostInput, ticks: &[Arc<Stored>]) -> Self {
        let mut look = Self {
            fills: input.fills.clone(),
            memory: input.state.memory.clone(),
            learned: STANDARD.encode(input.state.pack()),
            open: input.open.clone(),
            events: input.events.iter().map(|e| (e.at, e.kind.clone(), e.detail.clone())).collect(),
            maintenance: input.maintenance,
            language: input.language.tag().to_owned(),
            rules: input.rules.iter().map(|compiled| compiled.rule.clone()).collect(),
            rule_states: STANDARD.encode(input.state.rules.pack()),
            ..Self::default()
        };
        for stored in ticks.iter().rev().take(MOST_TICKS).rev() {
            let schema = &stored.schema.schema;
            let at = look.schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
                look.schemas.push(schema.clone());
                look.schemas.len() - 1
            });
            let mut frame = Vec::new();
            encode_full(&stored.tick, &mut frame);
            look.ticks.push(Tick {
                schema: at,
                epoch: stored.epoch,
                boot: stored.boot.0,
                at: stored.at,
                received_at: stored.received_at,
                frame: STANDARD.encode(&frame),
            });
        }
        look
    }

    fn stored(&self) -> Result<Vec<Arc<Stored>>, RecordingError> {
        let schemas: Vec<Arc<NamedSchema>> =
            self.schemas.iter().map(|schema| NamedSchema::new(schema.clone())).collect();
        let one = |(at, tick): (usize, &Tick)| {
            let broken = || RecordingError::Tick(at);
            let schema = schemas.get(tick.schema).ok_or_else(broken)?;
            let frame = STANDARD.decode(&tick.frame).map_err(|_| broken())?;
            let mut decoder = Decoder::default();
            decoder.decode(&frame, schema.schema.columns.len()).map_err(|_| broken())?;
            Ok(Arc::new(Stored {
                tick: decoder.last_shared().ok_or_else(broken)?,
                schema: schema.clone(),
                epoch: tick.epoch,
                boot: Boot(tick.boot),
                at: tick.at,
                received_at: tick.received_at,
            }))
        };
        self.ticks.iter().take(MOST_TICKS).enumerate().map(one).collect()
    }

    /// Runs the look; its groups as JSON text.
    fn run(&self) -> Result<String, RecordingError> {
        let mut state = HostState { memory: self.memory.clone(), ..HostState::default() };
        state.unpack(&STANDARD.decode(&self.learned).unwrap_or_default());
        state.rules = States::unpack(&STANDARD.decode(&self.rule_states).unwrap_or_default());
        let input = HostInput {
            rules: self.rules.iter().map(|rule| Arc::new(Compiled::new(rule.clone()))).collect(),
            standings: Vec::new(),
            window: Window::new(self.stored()?, None),
            fills: self.fills.clone(),
            state,
            open: self.open.clone(),
            events: self
                .events
                .iter()
                .map(|(at, kind, detail)| HostEvent { at: *at, kind: kind.clone(), detail: detail.clone() })
                .collect(),
            maintenance: self.maintenance,
            language: Language::from_tag(&self.language),
        };
        let groups = Engine::new().step(input).map(|step| step.groups).unwrap_or_default();
        Ok(told(&groups))
    }
}

/// Groups as JSON text.
fn told(groups: &[Group]) -> String {
    let list: Vec<Value> =
        groups.iter().map(|group| json!({ "findings": group.findings, "offers": group.offers })).collect();
    serde_json::to_string(&list).unwrap_or_default()
}
