//! Notes of admins for the model: one text per scope, every version kept.

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError};

/// For which hosts a note is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// For all.
    Global,
    /// For those with an admin's label.
    Label {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// For one.
    Host(HostId),
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Label { name, value } => write!(f, "label:{name}={value}"),
            Self::Host(host) => write!(f, "host:{host}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str = "must be global, label:NAME=VALUE or host:ID";
        if text == "global" {
            return Ok(Self::Global);
        }
        if let Some((name, value)) = text.strip_prefix("label:").and_then(|rest| rest.split_once('=')) {
            let fits =
                (1..=64).contains(&name.len()) && value.len() <= 128 && !text.contains(char::is_control);
            return if fits && !name.starts_with("host.") {
                Ok(Self::Label { name: name.to_owned(), value: value.to_owned() })
            } else {
                Err("must name a label that an admin set, with at most 64 bytes of name and 128 of value")
            };
        }
        let host = text.strip_prefix("host:").and_then(|id| id.parse().ok());
        host.map(Self::Host).ok_or(MUST)
    }
}

/// One version of a note.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Note {
    /// For which hosts, in its written form.
    pub scope: String,
    /// 1, 2, … within the scope.
    pub version: i64,
    /// The text; empty takes the note away.
    pub text: String,
    /// Who wrote it.
    pub created_by: String,
    /// When, ms UTC.
    pub created_at: i64,
}

/// Writes a new version of a scope's note; returns its number.
///
/// # Errors
/// Only the store's.
pub async fn write(
    conn: &mut Conn,
    scope: &Scope,
    text: &str,
    who: &str,
    now: UnixMs,
) -> Result<i64, StoreError> {
    let (version,): (i64,) = sqlx::query_as(
        "INSERT INTO model_prompts (scope, version, text, created_by, created_at)
         SELECT ?1, coalesce(max(version), 0) + 1, ?2, ?3, ?4 FROM model_prompts WHERE scope = ?1
         RETURNING version",
    )
    .bind(scope.to_string())
    .bind(text)
    .bind(who)
    .bind(now.0)
    .fetch_one(conn)
    .await?;
    Ok(version)
}

/// The present note of every scope that has one, by scope.
///
/// # Errors
/// Only the store's.
pub async fn current(db: &Db) -> Result<Vec<Note>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM model_prompts AS p WHERE text <> ''
           AND version = (SELECT max(version) FROM model_prompts WHERE scope = p.scope)
         ORDER BY scope LIMIT 1000",
    )
    .fetch_all(db.read())
    .await?)
}

/// Every version of a scope's note, newest first.
///
/// # Errors
/// Only the store's.
pub async fn versions(db: &Db, scope: &Scope) -> Result<Vec<Note>, StoreError> {
    Ok(sqlx::query_as("SELECT * FROM model_prompts WHERE scope = ? ORDER BY version DESC LIMIT 100")
        .bind(scope.to_string())
        .fetch_all(db.read())
        .await?)
}

/// The notes that hold for a host: the general one, those of its admin's labels by name, its own.
///
/// # Errors
/// Only the store's.
pub async fn of_host(conn: &mut Conn, host: HostId) -> Result<Vec<Note>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM model_prompts AS p WHERE text <> ''
           AND version = (SELECT max(version) FROM model_prompts WHERE scope = p.scope)
           AND (scope = 'global' OR scope = 'host:' || ?1 OR scope IN (
               SELECT 'label:' || name || '=' || value FROM host_labels WHERE host = ?1 AND source = 'admin'))
         ORDER BY CASE WHEN scope = 'global' THEN 0 WHEN scope LIKE 'label:%' THEN 1 ELSE 2 END, scope",
    )
    .bind(host.to_string())
    .fetch_all(conn)
    .await?)
}
