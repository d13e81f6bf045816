//! `/api/v1`: what the pages show and do, for programs.
//!
//! Times are integer milliseconds since 1970 UTC. Lists come in parts: `limit` says how many, `after`
//! is the `next` of the part before. Unknown parameters and fields are refused, so that a slip does not
//! pass for a filter.

pub mod analyses;
pub mod approvals;
pub mod assignments;
pub mod audit;
pub mod enrolment;
pub mod health;
pub mod hosts;
pub mod incidents;
pub mod maintenance;
pub mod model;
pub mod openapi;
pub mod probes;
pub mod queries;
pub mod retention;
pub mod rows;
pub mod rules;
pub mod runs;
pub mod series;
pub mod tokens;
pub mod users;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::store::users::Role;

/// How many of a list come at once: 1 to 200, 50 where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(pub u32);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<String> for Limit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.parse() {
            Ok(limit @ 1..=200) => Ok(Self(limit)),
            _ => Err("must be a whole number from 1 to 200"),
        }
    }
}

/// A text of a query: at most `MOST` bytes, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MOST: usize>(pub String);

impl<const MOST: usize> TryFrom<String> for Text<MOST> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MOST || text.chars().any(char::is_control) {
            return Err(format!("must have at most {MOST} bytes, without control characters"));
        }
        Ok(Self(text))
    }
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Limit,
    /// `next` of the part before.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 64)]
    pub after: Text<64>,
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Value of `after` for the next part; null at the end.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A part of at most `limit` entries; `found` has one more when there is a next part.
    pub fn cut<F>(mut found: Vec<F>, limit: Limit, key: impl Fn(&F) -> String) -> Self
    where
        T: From<F>,
    {
        let limit = limit.0 as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = if more { found.last().map(key) } else { None };
        Self { items: found.into_iter().map(T::from).collect(), next }
    }
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleWord {
    /// Reads.
    Viewer,
    /// Reads, approves, starts runs, acknowledges incidents.
    Operator,
    /// Everything.
    Admin,
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<RoleWord> for Role {
    fn from(role: RoleWord) -> Self {
        match role {
            RoleWord::Viewer => Self::Viewer,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}
