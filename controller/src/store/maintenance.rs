//! Maintenance windows: times in which nothing runs by itself, on one host, on hosts with a label, or on all.

use sqlx::FromRow;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::assignments::Selector;
use super::{Conn, Db, StoreError, parse};

/// A window as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Id.
    pub id: String,
    /// Where; `None` on all hosts.
    pub on: Option<Selector>,
    /// The hosts that carry its label, as they were when the window was read.
    pub carriers: Vec<HostId>,
    /// From when.
    pub starts_at: UnixMs,
    /// Until when.
    pub ends_at: UnixMs,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
}

impl Window {
    /// Whether it is about this host.
    #[must_use]
    pub fn covers(&self, host: HostId) -> bool {
        match &self.on {
            None => true,
            Some(Selector::Host(one)) => *one == host,
            Some(Selector::Label { .. }) => self.carriers.contains(&host),
        }
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    host: Option<String>,
    label_name: Option<String>,
    label_value: Option<String>,
    starts_at: i64,
    ends_at: i64,
    reason: String,
    created_by: String,
    created_at: i64,
}

impl TryFrom<Row> for Window {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let on = match (row.host, row.label_name) {
            (Some(host), _) => Some(Selector::Host(parse("host id", &host)?)),
            (None, Some(name)) => Some(Selector::Label { name, value: row.label_value.unwrap_or_default() }),
            (None, None) => None,
        };
        Ok(Self {
            id: row.id,
            on,
            carriers: Vec::new(),
            starts_at: UnixMs(row.starts_at),
            ends_at: UnixMs(row.ends_at),
            reason: row.reason,
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
        })
    }
}

/// Windows that have not ended, soonest first.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, now: UnixMs) -> Result<Vec<Window>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM maintenance WHERE ends_at > ? ORDER BY starts_at LIMIT 1000")
            .bind(now.0)
            .fetch_all(db.read())
            .await?;
    let mut windows: Vec<Window> = rows.into_iter().map(Window::try_from).collect::<Result<_, _>>()?;
    let carriers: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT DISTINCT l.name, l.value, l.host FROM maintenance m
         JOIN host_labels l ON l.name = m.label_name AND l.value = m.label_value AND l.source = 'admin'
         WHERE m.ends_at > ?",
    )
    .bind(now.0)
    .fetch_all(db.read())
    .await?;
    for window in &mut windows {
        let Some(Selector::Label { name, value }) = &window.on else { continue };
        let own = carriers.iter().filter(|(n, v, _)| n == name && v == value);
        window.carriers = own.map(|(.., host)| parse("host id", host)).collect::<Result<_, _>>()?;
    }
    Ok(windows)
}

/// The window that holds now for `host`, if there is one.
///
/// # Errors
/// Only the store's.
pub async fn active(conn: &mut Conn, host: HostId, now: UnixMs) -> Result<Option<Window>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT * FROM maintenance m WHERE starts_at <= ?1 AND ends_at > ?1
           AND (host = ?2 OR (host IS NULL AND label_name IS NULL) OR EXISTS (
               SELECT 1 FROM host_labels l WHERE l.host = ?2 AND l.name = m.label_name
                 AND l.value = m.label_value AND l.source = 'admin'))
         ORDER BY ends_at DESC LIMIT 1",
    )
    .bind(now.0)
    .bind(host.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(Window::try_from).transpose()
}

/// Stores a window and returns it.
///
/// # Errors
/// Only the store's.
pub async fn insert(
    conn: &mut Conn,
    on: Option<Selector>,
    span: (UnixMs, UnixMs),
    reason: &str,
    who: &str,
    now: UnixMs,
) -> Result<Window, StoreError> {
    let (host, label) = match &on {
        None => (None, None),
        Some(Selector::Host(host)) => (Some(host.to_string()), None),
        Some(Selector::Label { name, value }) => (None, Some((name.clone(), value.clone()))),
    };
    let (label_name, label_value) = label.unzip();
    let window = Window {
        id: Uuid::now_v7().to_string(),
        on,
        carriers: Vec::new(),
        starts_at: span.0,
        ends_at: span.1,
        reason: reason.to_owned(),
        created_by: who.to_owned(),
        created_at: now,
    };
    sqlx::query(
        "INSERT INTO maintenance
           (id, host, label_name, label_value, starts_at, ends_at, reason, created_by, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&window.id)
    .bind(host)
    .bind(label_name)
    .bind(label_value)
    .bind(span.0.0)
    .bind(span.1.0)
    .bind(reason)
    .bind(who)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(window)
}

/// Ends a window now; false when there is none that has not ended.
///
/// # Errors
/// Only the store's.
pub async fn end(conn: &mut Conn, id: &str, now: UnixMs) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE maintenance SET ends_at = max(?1, starts_at + 1) WHERE id = ?2 AND ends_at > ?1")
            .bind(now.0)
            .bind(id)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() == 1)
}
