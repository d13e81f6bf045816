//! The client against the stub server: every scenario with every kind of server, and each limit by itself.

mod caps;
mod collected;
mod judged;
mod limits;
mod probing;
#[path = "../../../../tests/harness/stub_model/mod.rs"]
pub(crate) mod stub_model;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use sysop_common::finding::Severity;
use sysop_common::time::UnixMs;

use super::ask::{AskRequest, Message, Purpose};
use super::client::ModelClient;
use super::pace::Pace;
use super::profile::{Level, Profile};
use crate::clock::Clock;
use crate::config::{Config, Model, ServerKind, Sources};
use stub_model::{Emulate, KEY, StubModel};

/// Length of a second on the wire.
pub(crate) const SECOND: Duration = Duration::from_millis(50);
/// Stands in every prompt, and may be in no log and no error.
const CANARY: &str = "canary-of-the-prompt";
/// 2030-01-01T00:00:00Z.
const NOW: UnixMs = UnixMs(1_893_456_000_000);

/// Settings for a stub server; the model's name is the scenario.
pub(crate) fn settings(stub: &StubModel, emulate: Option<Emulate>, scenario: &str) -> Model {
    let mut variables = BTreeMap::from([
        ("OPENAI_BASE_URL".to_owned(), stub.base_url()),
        ("OPENAI_API_KEY".to_owned(), KEY.to_owned()),
        ("OPENAI_MODEL".to_owned(), format!("stub:{scenario}")),
    ]);
    if let Some(emulate) = emulate {
        variables.insert("SYSOP_MODEL_SERVER".to_owned(), emulate.name().to_owned());
    }
    let sources = Sources::new(vec![], variables, None, "/nonexistent".as_ref()).unwrap();
    Config::load(sources).unwrap().model
}

/// A client of a stub server, with what probing would have found.
pub(crate) fn client(stub: &StubModel, emulate: Emulate, scenario: &str) -> ModelClient {
    let model = settings(stub, Some(emulate), scenario);
    let client =
        ModelClient::with_pace(&model, Clock::manual(NOW), Pace::scaled(model.timeouts, SECOND)).unwrap();
    if emulate == Emulate::Generic {
        client.set_profile(Profile { level: Level::Plain, ..Profile::of(ServerKind::Generic) });
    }
    client
}

/// A question with a little evidence in it.
pub(crate) fn question() -> AskRequest {
    AskRequest {
        system_prefix: "Answer with one JSON object of the schema.".to_owned(),
        messages: vec![
            Message::system("Write in the language en."),
            Message::user(format!(
                "{CANARY}\nN1 disk_fill of F1 critical since 34m by U1 share 91% rows E1,E2\n\
                 E1 M1 F1 down 11m 40GiB -> 1MiB\nE2 M2 U1 up 11m 0 -> 39GiB\n\
                 O1 restart_service U1 risk medium for N1\nO2 stop_service U1 risk high for N1\n"
            )),
        ],
        schema: serde_json::json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false }),
        max_output_tokens: 1_200,
        deadline: None,
        purpose: Purpose::Triage,
        severity: Severity::Warning,
    }
}
