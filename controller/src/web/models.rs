//! The model behind the second opinion, for its pages. The stage that asks it is not ours: the wiring
//! hands in who knows it.

use std::future::Future;
use std::pin::Pin;

use sysop_common::time::UnixMs;

/// Something that takes a while.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, ModelsError>> + Send + 'a>>;

/// What was wanted of the model was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelsError {
    /// A setting does not have its form.
    #[error("{field} {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it must be.
        problem: String,
    },
    /// There is no such incident, or it is about no host.
    #[error("there is no such incident of a host")]
    NoIncident,
    /// No model is set up.
    #[error("no model is set up: name one and its key")]
    Off,
    /// Something failed here.
    #[error("{0}")]
    Failed(String),
}

/// A setting of the model as it holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `base_url`, `name`, …; empty value of `api_key`: it is never shown.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether an admin set it here; otherwise it is from file, environment or default.
    pub here: bool,
}

/// How the model is set up, and how it is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelState {
    /// Whether it is asked at all.
    pub on: bool,
    /// Whether everything is there to ask it.
    pub ready: bool,
    /// Whether a key is set.
    pub key: bool,
    /// Whether names of hosts, people and addresses are kept back.
    pub pseudonyms: bool,
    /// The settings.
    pub settings: Vec<Setting>,
    /// What is known of the server, one line each.
    pub profile: Vec<String>,
    /// When it was probed.
    pub probed_at: Option<UnixMs>,
    /// Whether it is left alone after failures.
    pub left_alone: bool,
    /// Tokens that may be used in a day, and money in millionths.
    pub limits: (u64, u64),
    /// The currency.
    pub currency: String,
    /// Name of the price list; empty when it has no prices.
    pub price_version: String,
}

/// What would be sent about an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The part that is the same in every request.
    pub prefix: String,
    /// The rest: who says it, and what.
    pub messages: Vec<(&'static str, String)>,
    /// The form of the answer, as JSON.
    pub schema: String,
    /// Tokens of the part that differs, estimated.
    pub tokens: u64,
    /// Tokens of all of it, estimated.
    pub all_tokens: u64,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Whether an answer came that counts whole.
    pub works: bool,
    /// What became of it, in one line.
    pub says: String,
    /// What to do about it, if something is wrong.
    pub remedy: Option<String>,
    /// Time to the answer, in ms.
    pub latency_ms: u64,
    /// Tokens of request and answer.
    pub tokens: (u64, u64),
    /// Money, in millionths.
    pub micro: u64,
    /// What was thrown out.
    pub rejects: Vec<String>,
}

/// A change of the settings: each value that is there is set, an empty one gives way to file, environment
/// or default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether the model is asked at all.
    pub on: Option<bool>,
    /// Whether names are kept back.
    pub pseudonyms: Option<bool>,
    /// `base_url`, `name`, … and their values.
    pub values: Vec<(&'static str, String)>,
}

/// Whoever knows the model.
pub trait Models: Send + Sync {
    /// How it is set up, and how it is doing.
    fn state(&self) -> ModelState;

    /// Changes settings, in the name of `who`; all of them or none.
    fn change<'a>(&'a self, change: Change, who: &'a str) -> Doing<'a, ()>;

    /// What would be sent about an incident.
    fn preview(&self, incident: i64) -> Doing<'_, Preview>;

    /// A file with all that an incident of a host rests on, to be looked at again offline.
    fn recording(&self, incident: i64) -> Doing<'_, Vec<u8>>;

    /// Asks about a made-up incident, with nothing of any host in it.
    fn test<'a>(&'a self, who: &'a str) -> Doing<'a, Tried>;
}

/// No model and no way to have one: for tests of pages.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct NoModels;

#[cfg(test)]
impl Models for NoModels {
    fn state(&self) -> ModelState {
        let setting = |name| Setting { name, value: "from-file".into(), here: false };
        ModelState {
            currency: "USD".into(),
            settings: ["base_url", "name", "api_key"].map(setting).to_vec(),
            ..ModelState::default()
        }
    }

    fn change<'a>(&'a self, change: Change, _: &'a str) -> Doing<'a, ()> {
        Box::pin(async move {
            let bad = change.values.iter().find(|(_, value)| value.contains(' '));
            match bad {
                Some((field, _)) => Err(ModelsError::Invalid { field, problem: "must be one word".into() }),
                None => Ok(()),
            }
        })
    }

    fn preview(&self, incident: i64) -> Doing<'_, Preview> {
        Box::pin(async move {
            if incident > 1_000 {
                return Err(ModelsError::NoIncident);
            }
            let messages = vec![("user", "EVIDENCE <i>".to_owned())];
            Ok(Preview { prefix: "rules".into(), messages, schema: "{}".into(), tokens: 9, all_tokens: 11 })
        })
    }

    fn recording(&self, incident: i64) -> Doing<'_, Vec<u8>> {
        Box::pin(async move {
            if incident > 1_000 {
                Err(ModelsError::NoIncident)
            } else {
                Ok(b"{\"format\":\"sysop-recording\"}".to_vec())
            }
        })
    }

    fn test<'a>(&'a self, _: &'a str) -> Doing<'a, Tried> {
        Box::pin(async { Err(ModelsError::Off) })
    }
}
