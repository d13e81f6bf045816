//! Why a person's request was not carried out.

use sysop_common::action::NameError;

use super::approval::Denied;
use crate::store::StoreError;

/// A request was not carried out; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// There is no such thing.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The role does not allow it.
    #[error("your role does not allow this; an operator or an admin can")]
    Forbidden,
    /// A parameter does not have its form.
    #[error("{field} {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it must be.
        problem: String,
    },
    /// It does not go together with how things stand.
    #[error("{0}")]
    Conflict(String),
    /// An approval is not possible.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl DecideError {
    /// The HTTP status that fits.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Forbidden | Self::Denied(Denied::OwnProposal) => 403,
            Self::Invalid { .. } => 422,
            Self::Conflict(_) | Self::Denied(_) => 409,
            Self::Store(_) => 500,
        }
    }

    pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { field, problem: problem.into() }
    }
}

impl From<StoreError> for DecideError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Conflict(why) => Self::Conflict(why.to_owned()),
            other => Self::Store(other),
        }
    }
}

impl From<NameError> for DecideError {
    fn from(error: NameError) -> Self {
        Self::invalid(error.field, error.problem)
    }
}
