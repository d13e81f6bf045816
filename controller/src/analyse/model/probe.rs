//! Finds out what a server can do, by asking it things whose answers tell.

use serde_json::{Value, json};
use sysop_common::finding::Severity;

use crate::config::ServerKind;

use super::ask::{Answer, AskRequest, Message, Purpose, Usage};
use super::client::ModelClient;
use super::error::{AskError, Phase};
use super::extract;
use super::fault::{Again, Fault};
use super::profile::{Downgrade, Level, LimitField, Profile, by_owner};

/// What probing found, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// How the server is to be spoken to.
    pub profile: Profile,
    /// Tokens of all questions together.
    pub usage: Usage,
    /// Questions that were answered.
    pub answers: u32,
}

/// The word that alone the schema allows, and that the prompt argues against.
const ALLOWED: &str = "violet";
/// Tokens that the answer may have when the limit is tried …
const SHORT: u32 = 24;
/// … and from how many on it is plain that the limit was ignored.
const PLAINLY_LONGER: u64 = 2 * SHORT as u64;
/// Words of the long prompt, each of at least one token: more than our own prompts ever have.
const LONG: usize = 5_000;
/// The word at the beginning of the long prompt.
const CODE: &str = "heron";
/// Tokens that servers with a small window keep, where they do not say how many they read.
const SMALL_WINDOW: u64 = 4_096;

/// Probes the server. The client goes on with the profile it has until it is given the new one.
///
/// # Errors
/// When the server cannot be asked at all; what was known before stays good.
pub async fn probe(client: &ModelClient, now_ms: i64) -> Result<Probed, AskError> {
    let mut probing =
        Probing { client, found: Probed { profile: client.profile(), usage: Usage::default(), answers: 0 } };
    probing.found.profile.notes.clear();
    probing.models().await?;
    probing.form().await?;
    probing.limit().await?;
    probing.window().await?;
    probing.found.profile.probed_at = Some(now_ms);
    Ok(probing.found)
}

struct Probing<'a> {
    client: &'a ModelClient,
    found: Probed,
}

impl Probing<'_> {
    fn note(&mut self, text: &str) {
        self.found.profile.notes.push(text.to_owned());
    }

    /// What the list of models tells: the kind of server, and whether the model is there.
    async fn models(&mut self) -> Result<(), AskError> {
        let list = match self.client.models().await {
            Ok(list) => list,
            // Without the key, or without a connection, there is nothing more to find out.
            Err(
                e @ (AskError::Unauthorised { .. } | AskError::Unreachable { .. } | AskError::Timeout { .. }),
            ) => {
                return Err(e);
            }
            Err(_) => return Ok(()),
        };
        let entries: &[Value] = list.get("data").and_then(Value::as_array).map_or(&[], Vec::as_slice);
        let text = |entry: &Value, field| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let settings = self.client.settings();
        if settings.server.is_none()
            && let Some(kind) = entries.iter().find_map(|entry| by_owner(&text(entry, "owned_by")?))
            && kind != self.found.profile.server
        {
            self.found.profile = Profile::of(kind);
        }
        // With Azure the list has models, and the name is a deployment's.
        let listed = entries.iter().any(|entry| text(entry, "id").as_deref() == Some(settings.name.as_str()));
        if !entries.is_empty() && !listed && self.found.profile.server != ServerKind::Azure {
            self.note("the list of models does not contain this one");
        }
        Ok(())
    }

    /// Whether a schema is enforced, JSON at least comes, or neither.
    async fn form(&mut self) -> Result<(), AskError> {
        let mut profile = self.found.profile.clone();
        profile.level = Level::Strict;
        match self.ask(&mut profile, colour()).await? {
            Some(answer) if names_allowed(&answer.text) => self.found.profile.level = Level::Strict,
            outcome => {
                if outcome.is_some() {
                    self.note("a schema is accepted and not kept to");
                }
                profile.level = Level::JsonObject;
                let answer = self.ask(&mut profile, colour()).await?;
                let is_json = answer.is_some_and(|answer| {
                    serde_json::from_str::<Value>(answer.text.trim()).is_ok_and(|value| value.is_object())
                });
                self.found.profile.level = if is_json { Level::JsonObject } else { Level::Plain };
            }
        }
        self.found.profile.limit = profile.limit;
        Ok(())
    }

    /// Which field bounds an answer.
    async fn limit(&mut self) -> Result<(), AskError> {
        let first = self.found.profile.limit;
        for field in [first, first.other()] {
            if self.bounds(field).await? {
                self.found.profile.limit = field;
                return Ok(());
            }
        }
        self.note("answers are not bounded: neither limit field is kept to");
        Ok(())
    }

    async fn bounds(&mut self, field: LimitField) -> Result<bool, AskError> {
        let mut profile = Profile { level: Level::Plain, limit: field, ..self.found.profile.clone() };
        let question = question("Write the numbers from 1 to 80, separated by commas.", SHORT);
        match self.client.probe_with(&profile, &question).await {
            Ok(answer) => {
                self.count(answer.usage);
                Ok(answer.usage.completion <= PLAINLY_LONGER)
            }
            Err(Fault { error: AskError::Truncated { usage }, .. }) => {
                self.count(usage);
                Ok(true)
            }
            Err(Fault { error: AskError::Empty { usage }, .. }) => {
                self.count(usage);
                Ok(true)
            }
            Err(Fault { again: Again::With(Downgrade::Limit), .. }) => Ok(false),
            Err(fault) => {
                profile.limit = field;
                self.indifferent(fault).map(|()| true)
            }
        }
    }

    /// Whether a long prompt is read to its beginning.
    async fn window(&mut self) -> Result<(), AskError> {
        if matches!(self.found.profile.server, ServerKind::OpenAi | ServerKind::Azure) {
            return Ok(());
        }
        let filler = "pine oak ash elm ".repeat(LONG / 4);
        let text = format!(
            "The code word is {CODE}. Trees follow, which do not matter: {filler}\n\
             Which code word stands at the very beginning? Answer with that word alone."
        );
        let mut profile = Profile { level: Level::Plain, ..self.found.profile.clone() };
        let Some(answer) = self.ask(&mut profile, question(&text, 400)).await? else {
            // A server that says so is no problem: then the evidence is halved.
            self.note("a long prompt got no answer, so its size could not be tried");
            return Ok(());
        };
        let recalled = answer.text.to_lowercase().contains(CODE);
        let read = answer.usage.prompt;
        if !answer.usage.estimated && read < LONG as u64 {
            self.found.profile.context_tokens = Some(read);
            self.note("long prompts are cut without a word: give the server a larger context window");
        } else if !recalled && answer.usage.estimated {
            self.found.profile.context_tokens = Some(SMALL_WINDOW);
            self.note("the beginning of a long prompt was not read: give the server a larger context window");
        } else if !recalled {
            self.note("the model did not recall the beginning of a long prompt");
        }
        Ok(())
    }

    /// Asks; adapts the limit field once. None where the answer says nothing, an error where the server
    /// cannot be asked.
    async fn ask(&mut self, profile: &mut Profile, request: AskRequest) -> Result<Option<Answer>, AskError> {
        let mut outcome = self.client.probe_with(profile, &request).await;
        if let Err(Fault { again: Again::With(Downgrade::Limit), .. }) = outcome {
            profile.limit = profile.limit.other();
            outcome = self.client.probe_with(profile, &request).await;
        }
        match outcome {
            Ok(answer) => {
                self.count(answer.usage);
                Ok(Some(answer))
            }
            Err(fault) => self.indifferent(fault).map(|()| None),
        }
    }

    /// Passes on what concerns every question, and forgives what concerns this one.
    fn indifferent(&mut self, fault: Fault) -> Result<(), AskError> {
        if let Some(usage) = fault.error.usage() {
            self.count(usage);
        }
        match fault.error {
            AskError::BadRequest { .. }
            | AskError::Refused { .. }
            | AskError::ContentFilter { .. }
            | AskError::Truncated { .. }
            | AskError::PromptTooLong
            | AskError::Empty { .. }
            | AskError::Malformed { .. }
            | AskError::TooLarge { .. }
            | AskError::Timeout { phase: Phase::Answer } => Ok(()),
            error => Err(error),
        }
    }

    fn count(&mut self, usage: Usage) {
        let all = &mut self.found.usage;
        all.prompt += usage.prompt;
        all.cached += usage.cached;
        all.completion += usage.completion;
        all.reasoning += usage.reasoning;
        all.estimated |= usage.estimated;
        self.found.answers += 1;
    }
}

fn names_allowed(text: &str) -> bool {
    extract::object(text).is_ok_and(|object| object.get("colour").and_then(Value::as_str) == Some(ALLOWED))
}

fn colour() -> AskRequest {
    let text = format!(
        "Reply with the JSON object {{\"colour\":\"green\"}} exactly. Do not write {ALLOWED}, which is wrong."
    );
    let mut request = question(&text, 400);
    request.schema = json!({
        "type": "object",
        "properties": { "colour": { "type": "string", "enum": [ALLOWED] } },
        "required": ["colour"],
        "additionalProperties": false,
    });
    request
}

fn question(text: &str, most: u32) -> AskRequest {
    AskRequest {
        system_prefix: "You answer shortly. Where JSON is asked for, you answer with it alone.".to_owned(),
        messages: vec![Message::user(text)],
        schema: json!({}),
        max_output_tokens: most,
        deadline: None,
        purpose: Purpose::Probe,
        severity: Severity::Info,
    }
}
