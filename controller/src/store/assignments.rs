//! Assignments: which action may be taken on which host or on hosts with an admin's label, and
//! whether by itself.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::{Conn, Db, StoreError, parse};

/// What an assignment selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// One host.
    Host(HostId),
    /// Hosts on which an admin set this label to this value.
    Label {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// An assignment as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Id.
    pub id: String,
    /// Where.
    pub selector: Selector,
    /// Name of the action.
    pub action: String,
    /// Whether by itself.
    pub automatic: bool,
    /// Who set it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
}

#[derive(FromRow)]
struct Row {
    id: String,
    host: Option<String>,
    label_name: Option<String>,
    label_value: Option<String>,
    action: String,
    automatic: i64,
    created_by: String,
    created_at: i64,
}

impl TryFrom<Row> for Assignment {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let selector = match (row.host, row.label_name) {
            (Some(host), None) => Selector::Host(parse("host id", &host)?),
            (None, Some(name)) => Selector::Label { name, value: row.label_value.unwrap_or_default() },
            _ => return Err(StoreError::corrupt("assignment", "neither host nor label")),
        };
        Ok(Self {
            id: row.id,
            selector,
            action: row.action,
            automatic: row.automatic != 0,
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
        })
    }
}

/// All assignments, by action.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db) -> Result<Vec<Assignment>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM assignments ORDER BY action, id LIMIT 10000")
        .fetch_all(db.read())
        .await?;
    rows.into_iter().map(Assignment::try_from).collect()
}

/// One assignment.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: &str) -> Result<Option<Assignment>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM assignments WHERE id = ?").bind(id).fetch_optional(conn).await?;
    row.map(Assignment::try_from).transpose()
}

/// Assignments that apply to `host`: its own, and those of labels that an admin set on it.
///
/// # Errors
/// Only the store's.
pub async fn of_host(conn: &mut Conn, host: HostId) -> Result<Vec<Assignment>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT * FROM assignments WHERE host = ?1
         UNION ALL
         SELECT a.* FROM assignments a JOIN host_labels l
             ON l.name = a.label_name AND l.value = a.label_value
         WHERE l.host = ?1 AND l.source = 'admin'
         ORDER BY action, id",
    )
    .bind(host.to_string())
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Assignment::try_from).collect()
}

/// Sets an assignment: makes it, or changes its flag. Returns it.
///
/// # Errors
/// Only the store's.
pub async fn set(
    conn: &mut Conn,
    selector: &Selector,
    action: &str,
    automatic: bool,
    who: &str,
    now: UnixMs,
) -> Result<Assignment, StoreError> {
    let (host, name, value) = columns(selector);
    let changed: Option<(String,)> = sqlx::query_as(
        "UPDATE assignments SET automatic = ?, created_by = ?, created_at = ?
         WHERE host IS ? AND label_name IS ? AND label_value IS ? AND action = ? RETURNING id",
    )
    .bind(automatic)
    .bind(who)
    .bind(now.0)
    .bind(&host)
    .bind(&name)
    .bind(&value)
    .bind(action)
    .fetch_optional(&mut *conn)
    .await?;
    let id = match changed {
        Some((id,)) => id,
        None => {
            let id = Uuid::now_v7().to_string();
            sqlx::query(
                "INSERT INTO assignments (id, host, label_name, label_value, action, automatic, created_by,
                     created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&id)
            .bind(host)
            .bind(name)
            .bind(value)
            .bind(action)
            .bind(automatic)
            .bind(who)
            .bind(now.0)
            .execute(&mut *conn)
            .await?;
            id
        }
    };
    get(conn, &id).await?.ok_or(StoreError::NotFound("assignment"))
}

fn columns(selector: &Selector) -> (Option<String>, Option<String>, Option<String>) {
    match selector {
        Selector::Host(host) => (Some(host.to_string()), None, None),
        Selector::Label { name, value } => (None, Some(name.clone()), Some(value.clone())),
    }
}

/// Takes an assignment away; false when there was none.
///
/// # Errors
/// Only the store's.
pub async fn remove(conn: &mut Conn, id: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM assignments WHERE id = ?").bind(id).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
