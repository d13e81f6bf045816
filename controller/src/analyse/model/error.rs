//! Why a question got no answer, and what to do about it.

use std::time::Duration;

use super::ask::Usage;

/// A question without an answer. None of these texts contains the key, the prompt or the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Neither a key nor a server that needs none.
    #[error("no model is set up")]
    NotSetUp,
    /// The server does not accept the key.
    #[error("the model's server does not accept the key ({status})")]
    Unauthorised {
        /// HTTP status, 401 or 403.
        status: u16,
    },
    /// The address or the model does not exist there.
    #[error("the model's server knows no such model or address (404): {note}")]
    NotFound {
        /// The server's words, shortened and cleaned.
        note: String,
    },
    /// The server does not understand the request.
    #[error("the model's server rejects the request ({status}): {note}")]
    BadRequest {
        /// HTTP status.
        status: u16,
        /// The server's words, shortened and cleaned.
        note: String,
    },
    /// Too many requests, for longer than waiting makes sense.
    #[error("the model's server asks for a pause{}", pause(*.retry_after))]
    RateLimited {
        /// How long, if it said.
        retry_after: Option<Duration>,
    },
    /// The account has nothing left.
    #[error("the account of the model's server is used up")]
    Quota,
    /// The model declines.
    #[error("the model declined to answer")]
    Refused {
        /// What it took all the same.
        usage: Usage,
    },
    /// A filter of the server stopped the request or the answer.
    #[error("a content filter of the model's server stopped it")]
    ContentFilter {
        /// What it took all the same.
        usage: Usage,
    },
    /// The answer was cut off.
    #[error("the model's answer was cut off at its limit of tokens")]
    Truncated {
        /// What it took all the same.
        usage: Usage,
    },
    /// The request does not fit into what the server reads at once.
    #[error("the request is larger than what the model reads at once")]
    PromptTooLong,
    /// An answer came without any text.
    #[error("the model's answer is empty")]
    Empty {
        /// What it took all the same.
        usage: Usage,
    },
    /// No answer in time.
    #[error("the model did not answer in time ({phase})")]
    Timeout {
        /// What was waited for.
        phase: Phase,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("the model's server cannot be reached: {note}")]
    Unreachable {
        /// What happened, without addresses of ours and without the key.
        note: String,
    },
    /// The server has a fault of its own.
    #[error("the model's server has a fault ({status})")]
    Server {
        /// HTTP status.
        status: u16,
    },
    /// The answer is larger or deeper than any honest one.
    #[error("the model's answer is larger than accepted: {what}")]
    TooLarge {
        /// Which cap.
        what: &'static str,
    },
    /// The answer is not what the protocol says.
    #[error("the model's server does not speak the protocol: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The server was sent away, and is tried again later.
    #[error("the model is left alone after repeated failures; the next try is in {}", seconds(*.retry_in))]
    BreakerOpen {
        /// Until the next try.
        retry_in: Duration,
    },
    /// Too many questions wait, and this one is not more urgent than they are.
    #[error("too many questions wait for the model")]
    Busy,
}

/// What was waited for when time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Our own turn.
    Queue,
    /// The server's limit of requests or tokens in a minute.
    Rate,
    /// A connection.
    Connect,
    /// The answer.
    Answer,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for its turn",
            Self::Rate => "waiting for the server's limits",
            Self::Connect => "connecting",
            Self::Answer => "waiting for the answer",
        })
    }
}

/// What the asker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Use the rules' own text.
    FallBack,
    /// Ask once more with half of the evidence, then use the rules' own text.
    HalveEvidence,
    /// Ask once more with stricter cleaning, then use the rules' own text.
    CleanHarder,
}

impl AskError {
    /// What the asker does next.
    #[must_use]
    pub fn next(&self) -> Next {
        match self {
            Self::Truncated { .. } | Self::PromptTooLong => Next::HalveEvidence,
            Self::ContentFilter { .. } => Next::CleanHarder,
            _ => Next::FallBack,
        }
    }

    /// A short name for counters and stored rows; never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSetUp => "not_set_up",
            Self::Unauthorised { .. } => "unauthorised",
            Self::NotFound { .. } => "not_found",
            Self::BadRequest { .. } => "bad_request",
            Self::RateLimited { .. } => "rate_limited",
            Self::Quota => "quota",
            Self::Refused { .. } => "refused",
            Self::ContentFilter { .. } => "content_filter",
            Self::Truncated { .. } => "truncated",
            Self::PromptTooLong => "prompt_too_long",
            Self::Empty { .. } => "empty",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Server { .. } => "server",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Busy => "busy",
        }
    }

    /// Tokens that were used without an answer, where the server said so.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Refused { usage }
            | Self::ContentFilter { usage }
            | Self::Truncated { usage }
            | Self::Empty { usage } => Some(*usage),
            _ => None,
        }
    }

    /// Whether a request went out whose cost nobody told.
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        matches!(
            self,
            Self::Timeout { phase: Phase::Answer }
                | Self::Malformed { .. }
                | Self::TooLarge { .. }
                | Self::Server { .. }
        )
    }

    /// What an operator can do about it; nothing when it passes by itself.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotSetUp => "Set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
            Self::Unauthorised { .. } => "Check model.api_key, and that the key may use this model.",
            Self::NotFound { .. } => {
                "Check model.name and model.base_url (most servers want /v1 at its end)."
            }
            Self::BadRequest { .. } => "Set model.server to the kind of server it is, and test again.",
            Self::Quota => "Add credit to the account of the model's server, or choose another.",
            Self::RateLimited { .. } => {
                "Lower model.requests_per_minute, or ask the server's owner for more."
            }
            Self::Unreachable { .. } => "Check model.base_url, the network, and that the server runs.",
            Self::Timeout { phase: Phase::Connect } => "Check model.base_url and the firewall in between.",
            Self::Timeout { .. } => {
                "A slow server of your own needs a longer model.deadline and model.read_timeout."
            }
            Self::PromptTooLong => {
                "Give the server a larger context window (with Ollama OLLAMA_CONTEXT_LENGTH)."
            }
            Self::Truncated { .. } | Self::Empty { .. } => {
                "Choose a model that thinks less, or a larger one."
            }
            Self::TooLarge { .. } | Self::Malformed { .. } => {
                "Check that model.base_url is an API like OpenAI's, and not a page or a proxy's sign-in."
            }
            Self::Refused { .. } | Self::ContentFilter { .. } | Self::Server { .. } => return None,
            Self::BreakerOpen { .. } | Self::Busy => return None,
        })
    }
}

fn pause(after: Option<Duration>) -> String {
    after.map(|after| format!(" of {}", seconds(after))).unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs().max(1))
}
