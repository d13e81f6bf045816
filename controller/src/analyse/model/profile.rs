//! What is known of a server's habits, first by its kind, then by probing.

use serde::{Deserialize, Serialize};

use crate::config::{Endpoint, Model, ServerKind};

/// How much the server is trusted to keep to a form. The answer is judged in the same way at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The schema is enforced by the server.
    Strict,
    /// Some JSON object comes; the schema stands in the prompt alone.
    JsonObject,
    /// A text comes, in which the JSON has to be found.
    Plain,
}

impl Level {
    /// The next lower one.
    #[must_use]
    pub fn lower(self) -> Option<Self> {
        match self {
            Self::Strict => Some(Self::JsonObject),
            Self::JsonObject => Some(Self::Plain),
            Self::Plain => None,
        }
    }
}

/// The field that bounds an answer. A server ignores the one that it does not know, or rejects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitField {
    /// The newer one; bounds thinking too.
    MaxCompletionTokens,
    /// The older one.
    MaxTokens,
}

impl LimitField {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxTokens => "max_tokens",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::MaxCompletionTokens => Self::MaxTokens,
            Self::MaxTokens => Self::MaxCompletionTokens,
        }
    }
}

/// How a server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What it is.
    pub server: ServerKind,
    /// How much it is trusted to keep to a form.
    pub level: Level,
    /// The field that bounds an answer.
    pub limit: LimitField,
    /// Most tokens of a request before the server cuts it silently, where that was noticed.
    pub context_tokens: Option<u64>,
    /// When it was probed, Unix ms; never if not set.
    pub probed_at: Option<i64>,
    /// What was noticed, for people.
    pub notes: Vec<String>,
}

/// Something the server turned down, by which its profile is changed once and the request sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Downgrade {
    /// It does not take this form; a looser one may do.
    Level,
    /// It takes no form at all.
    Form,
    /// It does not take this limit field.
    Limit,
}

impl Profile {
    /// What servers of this kind are known for. Strict is only assumed where it is documented and holds;
    /// probing raises or lowers it.
    #[must_use]
    pub fn of(server: ServerKind) -> Self {
        let (level, limit) = match server {
            ServerKind::OpenAi | ServerKind::Azure => (Level::Strict, LimitField::MaxCompletionTokens),
            ServerKind::Vllm => (Level::Strict, LimitField::MaxTokens),
            // Its grammar works, and values may violate it; a second limit field is ignored silently.
            ServerKind::Ollama => (Level::Strict, LimitField::MaxTokens),
            // It answers with 200 and without any grammar when it cannot make one of the schema.
            ServerKind::LlamaCpp | ServerKind::Generic => (Level::JsonObject, LimitField::MaxTokens),
        };
        Self { server, level, limit, context_tokens: None, probed_at: None, notes: Vec::new() }
    }

    /// Applies what the server turned down; false when there is nothing left to give up.
    pub(super) fn downgrade(&mut self, what: Downgrade) -> bool {
        match what {
            Downgrade::Level => match self.level.lower() {
                Some(level) => self.level = level,
                None => return false,
            },
            Downgrade::Form if self.level == Level::Plain => return false,
            Downgrade::Form => self.level = Level::Plain,
            Downgrade::Limit => self.limit = self.limit.other(),
        }
        true
    }

    /// Whether the server runs on hardware of its owner, where an answer may take its time and comes in
    /// one piece.
    pub(super) fn is_own_hardware(&self) -> bool {
        matches!(self.server, ServerKind::Ollama | ServerKind::Vllm | ServerKind::LlamaCpp)
    }

    /// Whether chat templates may stumble over a second message of the operator.
    pub(super) fn one_system_message(&self) -> bool {
        !matches!(self.server, ServerKind::OpenAi | ServerKind::Azure)
    }
}

/// The kind of server: as set, else by its address, else unknown until it is probed.
pub(super) fn guess(model: &Model) -> Option<ServerKind> {
    model.server.or_else(|| by_address(&model.endpoint))
}

fn by_address(endpoint: &Endpoint) -> Option<ServerKind> {
    let host = endpoint.host();
    if host == "api.openai.com" {
        return Some(ServerKind::OpenAi);
    }
    if host.ends_with(".openai.azure.com") || host.ends_with(".cognitiveservices.azure.com") {
        return Some(ServerKind::Azure);
    }
    // The port it is known by.
    (endpoint.port() == 11_434).then_some(ServerKind::Ollama)
}

/// The kind of server by the owner that its list of models names.
pub(super) fn by_owner(owner: &str) -> Option<ServerKind> {
    match owner {
        "library" => Some(ServerKind::Ollama),
        "vllm" => Some(ServerKind::Vllm),
        "llamacpp" => Some(ServerKind::LlamaCpp),
        _ => None,
    }
}
