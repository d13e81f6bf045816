//! A question to the model and its answer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sysop_common::finding::Severity;

use super::error::AskError;

/// Who asks: the wire, or what stands in for it in a test.
pub trait Ask: Send + Sync {
    /// Asks, and waits for the answer until the deadline. Identical requests at the same time are sent
    /// once; see [`Answer::shared`].
    fn ask(&self, request: AskRequest) -> Asking<'_>;
}

/// A question under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answer, AskError>> + Send + 'a>>;

/// A question.
#[derive(Debug, Clone)]
pub struct AskRequest {
    /// Rules, compact schema and catalogue: the same bytes for every request, so that servers can keep it.
    /// It has to contain the schema and the word JSON, because not every server shows the model either.
    pub system_prefix: String,
    /// What follows, oldest first.
    pub messages: Vec<Message>,
    /// JSON schema of the answer. It is sent where the server is known to keep to it; the answer has to
    /// be judged against it in any case.
    pub schema: serde_json::Value,
    /// Most tokens of the answer, thinking included.
    pub max_output_tokens: u32,
    /// Everything together, waiting and repeats included; by purpose when not set.
    pub deadline: Option<Duration>,
    /// What it is for.
    pub purpose: Purpose,
    /// Who goes first when several wait.
    pub severity: Severity,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator of this controller: further instructions after the prefix.
    System,
    /// Evidence, or what was wrong with an answer.
    User,
    /// An answer of the model, given back to it.
    Assistant,
}

impl Role {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Something said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// What.
    pub text: String,
}

impl Message {
    /// Evidence, or what was wrong with an answer.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self { role: Role::User, text: text.into() }
    }

    /// Further instructions of the operator.
    #[must_use]
    pub fn system(text: impl Into<String>) -> Self {
        Self { role: Role::System, text: text.into() }
    }

    /// An earlier answer.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self { role: Role::Assistant, text: text.into() }
    }
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A first opinion on an incident.
    Triage,
    /// A turn of a deeper look.
    DeepDive,
    /// Finding out what the server can do.
    Probe,
    /// A person tries the settings.
    Test,
}

/// An answer: a text that nobody has judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The content, or, where servers put it there, the reasoning content.
    pub text: String,
    /// What it took.
    pub usage: Usage,
    /// The model that answered, by its own word; else the one that was asked.
    pub model: String,
    /// Why it ended.
    pub finish: Finish,
    /// From the question to the answer, waiting and repeats included, in ms.
    pub latency_ms: u64,
    /// Requests sent for it, 1 or more.
    pub tries: u32,
    /// Another caller had the same question under way and has this answer too: it is paid for once.
    pub shared: bool,
}

/// Tokens of one question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the request.
    pub prompt: u64,
    /// Of the request, found in the server's cache; part of `prompt`.
    pub cached: u64,
    /// Of the answer.
    pub completion: u64,
    /// Of the answer, for thinking; part of `completion`.
    pub reasoning: u64,
    /// The server did not say: counted here, bytes by 2.5.
    pub estimated: bool,
}

impl Usage {
    /// All tokens.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// Tokens that a text is likely to have: bytes by 2.5, on the high side for English and Vietnamese.
#[must_use]
pub fn estimate_tokens(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(2).div_ceil(5)
}

/// Why an answer ended. One that was cut off, refused or filtered is an [`AskError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It was complete.
    Stop,
    /// The server said nothing, or something that nobody knows.
    Unknown,
}
