//! States of a run and the events that a host reports about it.

use serde::{Deserialize, Serialize};

use crate::bytes::{Bytes, Digest};
use crate::ids::OrderId;
use crate::time::UnixMs;

/// States of a run, in the order in which they can follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Offered by the analyser, not decided.
    Proposed,
    /// Waits for a person.
    AwaitingApproval,
    /// May be sent.
    Approved,
    /// A controller is about to send it.
    Claimed,
    /// Handed to the link; from here only the host's word ends it.
    Sent,
    /// The executor took it.
    Accepted,
    /// It is running.
    Started,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by its time limit.
    TimedOut,
    /// The host did not take it.
    Refused,
    /// Not started in time, by the host's word or never sent.
    Expired,
    /// Withdrawn before it started.
    Cancelled,
    /// It may or may not have run. Never started again by itself.
    Unknown,
    /// Ended well and its effect was seen.
    Verified,
    /// Ended well but its effect was not seen.
    NotVerified,
    /// Taken back.
    Undone,
    /// A person did not approve it.
    Rejected,
}

impl RunState {
    /// The word for it, as in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Approved => "approved",
            Self::Claimed => "claimed",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Verified => "verified",
            Self::NotVerified => "not_verified",
            Self::Undone => "undone",
            Self::Rejected => "rejected",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// All states.
    pub const ALL: [Self; 18] = [
        Self::Proposed,
        Self::AwaitingApproval,
        Self::Approved,
        Self::Claimed,
        Self::Sent,
        Self::Accepted,
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Refused,
        Self::Expired,
        Self::Cancelled,
        Self::Unknown,
        Self::Verified,
        Self::NotVerified,
        Self::Undone,
        Self::Rejected,
    ];

    /// Whether nothing more is to come, but for a late word from the host after `unknown`.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Failed
                | Self::TimedOut
                | Self::Refused
                | Self::Expired
                | Self::Cancelled
                | Self::Unknown
                | Self::Verified
                | Self::NotVerified
                | Self::Undone
                | Self::Rejected
        )
    }
}

/// Why a host did not take an order. Each has its own word; nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The bytes are not an order.
    Malformed,
    /// There is no signature.
    Unsigned,
    /// The signature does not fit the bytes.
    BadSignature,
    /// The signing key is not certified by this host's CA for dispatch.
    UntrustedKey,
    /// It is for another host.
    WrongHost,
    /// Its time has not come.
    NotYet,
    /// Its time is over.
    Expired,
    /// It lives longer than an order may.
    LifetimeTooLong,
    /// A newer controller has taken this host over.
    OldLease,
    /// The lease number is implausibly far ahead.
    LeaseJump,
    /// Another order ran under this id.
    Replayed,
    /// This agent does not have the action, or another version of it.
    UnknownAction,
    /// The owner's policy does not allow the action.
    NotAllowed,
    /// The owner's policy does not allow these parameters.
    ParameterNotAllowed,
    /// The target is protected; no policy can allow it.
    Protected,
    /// It needs an approver's signature.
    NeedsApproval,
    /// Too many actions in too short a time.
    RateLimited,
    /// What should be repaired is not there any more, or cannot be repaired this way.
    PreCheckFailed,
    /// Another order is running.
    Busy,
    /// The journal is missing or cannot be written: nothing runs until root resets it.
    NoJournal,
    /// This host runs no executor: its owner enabled monitoring only.
    MonitorOnly,
}

/// What happened to an order on its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Checked and written to the journal.
    Accepted,
    /// About to run: on disk before anything runs.
    Started,
    /// Ended.
    Finished {
        /// Succeeded, failed or timed out.
        state: RunState,
        /// Exit status of the command, if there was one and it exited by itself.
        exit: Option<i32>,
        /// How long it ran, in ms.
        duration_ms: u64,
        /// One line on what happened.
        detail: String,
        /// SHA-256 of the whole output.
        output: Digest,
        /// Bytes of output before the cap.
        output_bytes: u64,
    },
    /// Not taken. Nothing ran.
    Refused {
        /// Why.
        reason: Refusal,
        /// One line, with what the owner can do about it.
        detail: String,
    },
    /// Withdrawn before it started. Nothing ran.
    Cancelled,
    /// The executor ended in between: it may or may not have run.
    Unknown {
        /// One line on what is known.
        detail: String,
    },
    /// The effect was looked at.
    Checked {
        /// Whether it was seen.
        verified: bool,
        /// One line on what was seen.
        detail: String,
    },
    /// The same order came again; it was not run again.
    Duplicate,
}

/// An event as it travels, from the journal, until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// Which order.
    pub order: OrderId,
    /// Number of the event in the host's journal; with the order's id it is the key that makes a resend harmless.
    pub number: u64,
    /// When, by the host's clock.
    pub at: UnixMs,
    /// What.
    pub event: Event,
    /// Head of the controller's audit chain that the order carried.
    pub audit_head: Option<Digest>,
    /// Reserved for the executor's signature over the event.
    #[serde(default)]
    pub signature: Option<Bytes>,
}
