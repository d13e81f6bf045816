//! Labels of hosts: those that agents announce, for display, and those that admins give, for rights and
//! automation.

use std::collections::BTreeMap;

use serde::Serialize;
use sysop_common::ids::HostId;

use super::hosts::MAX_NAME;
use super::{Conn, StoreError};

/// Value of a label and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The value.
    pub value: String,
    /// Whether an admin gave it: only then may it select for rights and automation.
    pub admin: bool,
}

/// What labels that agents announce begin with; those of admins may not.
pub const AGENT_LABEL_PREFIX: &str = "host.";

/// Most labels of one host by one source.
pub const MAX_LABELS: usize = 64;

/// Replaces the labels that admins gave a host.
///
/// # Errors
/// When a name is reserved, too long or empty, when there are too many, or there is no such host.
pub async fn set_labels(
    conn: &mut Conn,
    id: HostId,
    labels: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    check_labels(labels)?;
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM hosts WHERE id = ? AND removed_at IS NULL")
        .bind(id.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    known.ok_or(StoreError::NotFound("host"))?;
    put_labels(conn, id, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), "admin").await
}

/// Checks labels that an admin gives.
///
/// # Errors
/// When a name is reserved, too long or empty, or when there are too many.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), StoreError> {
    if labels.len() > MAX_LABELS {
        return Err(StoreError::Conflict("a host has at most 64 labels"));
    }
    for (name, value) in labels {
        if name.is_empty() || name.len() > MAX_NAME || value.len() > MAX_NAME {
            return Err(StoreError::Conflict("a label's name has 1 to 128 bytes, its value at most 128"));
        }
        if name.starts_with(AGENT_LABEL_PREFIX) {
            return Err(StoreError::Conflict("labels that begin with 'host.' are the agents' own"));
        }
    }
    Ok(())
}

/// Replaces a host's labels of one source.
pub(super) async fn put_labels(
    conn: &mut Conn,
    id: HostId,
    labels: impl Iterator<Item = (&str, &str)>,
    source: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM host_labels WHERE host = ? AND source = ?")
        .bind(id.to_string())
        .bind(source)
        .execute(&mut *conn)
        .await?;
    for (name, value) in labels {
        sqlx::query("INSERT OR REPLACE INTO host_labels (host, name, value, source) VALUES (?, ?, ?, ?)")
            .bind(id.to_string())
            .bind(name)
            .bind(value)
            .bind(source)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
