//! What went wrong with one try, and whether another makes sense.

use std::time::Duration;

use serde_json::Value;

use super::ask::Usage;
use super::error::{AskError, Phase};
use super::profile::Downgrade;

/// How servers say that a request is longer than their window.
const TOO_LONG: [&str; 4] =
    ["context_length_exceeded", "context length", "context size", "exceed_context_size"];

/// One try that failed. It passes through the client library as an error of its own.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub(super) struct Fault {
    pub(super) error: AskError,
    pub(super) again: Again,
}

/// Whether another try makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// No: it would go the same way.
    Never,
    /// One more: the connection broke, and asking twice does no harm.
    Once,
    /// After a pause, of this length if the server said so.
    Later(Option<Duration>),
    /// At once, when the profile could be changed.
    With(Downgrade),
}

impl Fault {
    pub(super) fn new(error: AskError, again: Again) -> Self {
        Self { error, again }
    }

    pub(super) fn malformed(what: &'static str) -> Self {
        Self::new(AskError::Malformed { what }, Again::Never)
    }

    /// Whether it says something of the server's health.
    pub(super) fn is_ill(&self) -> bool {
        !matches!(
            self.error,
            AskError::BadRequest { .. }
                | AskError::Refused { .. }
                | AskError::ContentFilter { .. }
                | AskError::Truncated { .. }
                | AskError::PromptTooLong
                | AskError::Empty { .. }
        )
    }

    /// A request that got no head.
    pub(super) fn unsent(error: reqwest::Error) -> Self {
        let phase = if error.is_connect() { Phase::Connect } else { Phase::Answer };
        if error.is_timeout() {
            return Self::new(AskError::Timeout { phase }, Again::Later(None));
        }
        let again = if error.is_connect() { Again::Later(None) } else { Again::Once };
        Self::new(AskError::Unreachable { note: root(error) }, again)
    }

    /// A body that broke off.
    pub(super) fn broken(error: reqwest::Error) -> Self {
        Self::new(AskError::Unreachable { note: root(error) }, Again::Once)
    }

    /// A status that is no success.
    pub(super) fn status(status: u16, body: &[u8], after: Option<Duration>, hide: &str) -> Self {
        let said = Said::read(body, hide);
        if said.names(&["content_filter", "content_policy", "responsibleai", "jailbreak"]) {
            return Self::new(AskError::ContentFilter { usage: Usage::default() }, Again::Never);
        }
        match status {
            401 | 403 => Self::new(AskError::Unauthorised { status }, Again::Never),
            402 => Self::new(AskError::Quota, Again::Never),
            404 => Self::new(AskError::NotFound { note: said.message }, Again::Never),
            429 if said.names(&[
                "insufficient_quota",
                "billing_hard_limit",
                "exceeded your current quota",
            ]) =>
            {
                Self::new(AskError::Quota, Again::Never)
            }
            429 => Self::new(AskError::RateLimited { retry_after: after }, Again::Later(after)),
            408 | 425 | 500..=599 => Self::new(AskError::Server { status }, Again::Later(after)),
            413 => Self::new(AskError::PromptTooLong, Again::Never),
            400..=499 if said.names(&TOO_LONG) => Self::new(AskError::PromptTooLong, Again::Never),
            400..=499 => {
                let again = said.downgrade().map_or(Again::Never, Again::With);
                Self::new(AskError::BadRequest { status, note: said.message }, again)
            }
            _ => Self::malformed("a status that is neither an answer nor an error"),
        }
    }
}

/// The innermost cause: the outer ones repeat the address.
fn root(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shown(&cause.to_string(), "")
}

/// What a server says of an error, in whatever form.
struct Said {
    message: String,
    /// Everything that may name the reason, in small letters.
    haystack: String,
}

impl Said {
    fn read(body: &[u8], hide: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let value = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
        // {"error": {…}} with most, {"error": "…"} with Ollama, {"object": "error", …} with older vLLM.
        let error = value.get("error").unwrap_or(&value);
        let message = match (error, error.get("message")) {
            (Value::String(text), _) | (_, Some(Value::String(text))) => text.clone(),
            _ if value.is_null() && !text.trim_start().starts_with('<') => text.clone().into_owned(),
            _ => "no reason given".to_owned(),
        };
        let mut haystack = message.clone();
        for field in ["code", "type", "param"] {
            match error.get(field) {
                Some(Value::String(text)) => haystack = format!("{haystack} {text}"),
                Some(Value::Number(number)) => haystack = format!("{haystack} {number}"),
                _ => {}
            }
        }
        if let Some(inner) = error.pointer("/innererror/code").and_then(Value::as_str) {
            haystack = format!("{haystack} {inner}");
        }
        Self { message: shown(&message, hide), haystack: haystack.to_lowercase() }
    }

    fn names(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.haystack.contains(word))
    }

    /// Which of our fields it does not like.
    fn downgrade(&self) -> Option<Downgrade> {
        if self.names(&["json_schema", "json_object", "structured output", "grammar", "schema"]) {
            return Some(Downgrade::Level);
        }
        if self.names(&["response_format"]) {
            return Some(Downgrade::Form);
        }
        self.names(&["max_tokens", "max_completion_tokens"]).then_some(Downgrade::Limit)
    }
}

/// A server's words as they may be shown: one line, short, without the key.
fn shown(text: &str, hide: &str) -> String {
    let text = if hide.len() >= 6 { text.replace(hide, "(key)") } else { text.to_owned() };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let words = line.split_whitespace().map(|word| {
        // Servers repeat a part of a wrong key.
        if word.starts_with("sk-") { "(key)" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}
