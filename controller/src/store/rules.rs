//! Rules of operators: what must hold on all hosts, on those with a label, or on one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::assignments::Selector;
use super::{Conn, StoreError, parse};

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// It fires when an expression over series holds.
    Expression {
        /// The expression.
        when: String,
        /// It is over when this holds; empty: when `when` does not.
        clear: String,
    },
    /// A systemd unit must be active.
    Unit {
        /// Full name, `nginx.service`.
        unit: String,
    },
    /// At least so many processes must run.
    Process {
        /// The kernel's short name, or with a `/` or blank in it the command line; `*` and `?` stand for others.
        name: String,
        /// How many, at least.
        least: u32,
    },
    /// Something must listen.
    Port {
        /// TCP port.
        port: u16,
    },
}

/// What of a rule a person writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name; no two rules have the same.
    pub name: String,
    /// What it looks at.
    pub check: Check,
    /// It fires once its condition has held without a pause for this long, in ms.
    pub for_ms: i64,
    /// It goes on firing for at least this long after its condition was last seen to hold, in ms.
    pub keep_ms: i64,
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` on all hosts.
    pub scope: Option<Selector>,
    /// Labels of the incident, for the people who are told.
    pub labels: BTreeMap<String, String>,
    /// Whether it is looked at.
    pub enabled: bool,
}

/// A rule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Id.
    pub id: i64,
    /// Its key where it came with the product; empty for those that people made.
    pub builtin: String,
    /// What it says.
    pub definition: Definition,
    /// Raised with each change.
    pub version: i64,
    /// Hosts that carry the label of its scope, in order, as they were when it was read.
    pub carriers: Vec<HostId>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
    /// Who changed it last.
    pub updated_by: String,
    /// When.
    pub updated_at: UnixMs,
}

impl Rule {
    /// Whether it is about this host.
    #[must_use]
    pub fn covers(&self, host: HostId) -> bool {
        match &self.definition.scope {
            None => true,
            Some(Selector::Host(one)) => *one == host,
            Some(Selector::Label { .. }) => self.carriers.binary_search(&host).is_ok(),
        }
    }
}

#[derive(FromRow)]
struct Row {
    id: i64,
    builtin: String,
    name: String,
    condition: String,
    for_ms: i64,
    keep_ms: i64,
    severity: String,
    host: Option<String>,
    label_name: Option<String>,
    label_value: Option<String>,
    labels: String,
    enabled: i64,
    version: i64,
    created_by: String,
    created_at: i64,
    updated_by: String,
    updated_at: i64,
}

impl TryFrom<Row> for Rule {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let scope = match (row.host, row.label_name) {
            (Some(host), _) => Some(Selector::Host(parse("host id", &host)?)),
            (None, Some(name)) => Some(Selector::Label { name, value: row.label_value.unwrap_or_default() }),
            (None, None) => None,
        };
        let severity = Severity::from_word(&row.severity);
        Ok(Self {
            id: row.id,
            builtin: row.builtin,
            definition: Definition {
                name: row.name,
                check: super::json("condition of a rule", &row.condition)?,
                for_ms: row.for_ms,
                keep_ms: row.keep_ms,
                severity: severity.ok_or_else(|| StoreError::corrupt("severity", &row.severity))?,
                scope,
                labels: super::json("labels of a rule", &row.labels)?,
                enabled: row.enabled != 0,
            },
            version: row.version,
            carriers: Vec::new(),
            created_by: row.created_by,
            created_at: UnixMs(row.created_at),
            updated_by: row.updated_by,
            updated_at: UnixMs(row.updated_at),
        })
    }
}

/// All rules, by id.
///
/// # Errors
/// Only the store's.
pub async fn list(conn: &mut Conn) -> Result<Vec<Rule>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM rules ORDER BY id LIMIT 1000").fetch_all(&mut *conn).await?;
    let mut rules: Vec<Rule> = rows.into_iter().map(Rule::try_from).collect::<Result<_, _>>()?;
    carry(conn, &mut rules).await?;
    Ok(rules)
}

/// One rule.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: i64) -> Result<Option<Rule>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM rules WHERE id = ?").bind(id).fetch_optional(&mut *conn).await?;
    let mut found: Vec<Rule> = row.map(Rule::try_from).transpose()?.into_iter().collect();
    carry(conn, &mut found).await?;
    Ok(found.pop())
}

/// Reads which hosts carry the labels of the scopes.
async fn carry(conn: &mut Conn, rules: &mut [Rule]) -> Result<(), StoreError> {
    if !rules.iter().any(|rule| matches!(rule.definition.scope, Some(Selector::Label { .. }))) {
        return Ok(());
    }
    let carriers: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT DISTINCT l.name, l.value, l.host FROM rules r
         JOIN host_labels l ON l.name = r.label_name AND l.value = r.label_value AND l.source = 'admin'
         ORDER BY l.host",
    )
    .fetch_all(conn)
    .await?;
    for rule in rules {
        let Some(Selector::Label { name, value }) = &rule.definition.scope else { continue };
        let own = carriers.iter().filter(|(n, v, _)| n == name && v == value);
        rule.carriers = own.map(|(.., host)| parse("host id", host)).collect::<Result<_, _>>()?;
    }
    Ok(())
}

/// How many rules there are.
///
/// # Errors
/// Only the store's.
pub async fn count(conn: &mut Conn) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM rules").fetch_one(conn).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The id of the rule of this name.
///
/// # Errors
/// Only the store's.
pub async fn named(conn: &mut Conn, name: &str) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar("SELECT id FROM rules WHERE name = ?").bind(name).fetch_optional(conn).await?)
}

fn place(scope: Option<&Selector>) -> (Option<String>, Option<String>, Option<String>) {
    match scope {
        None => (None, None, None),
        Some(Selector::Host(host)) => (Some(host.to_string()), None, None),
        Some(Selector::Label { name, value }) => (None, Some(name.clone()), Some(value.clone())),
    }
}

fn text<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::corrupt(what, e))
}

/// Stores a new rule; its id.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, new: &Definition, who: &str, now: UnixMs) -> Result<i64, StoreError> {
    let (host, label_name, label_value) = place(new.scope.as_ref());
    let id = sqlx::query_scalar(
        "INSERT INTO rules (name, condition, for_ms, keep_ms, severity, host, label_name, label_value,
             labels, enabled, version, created_by, created_at, updated_by, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?) RETURNING id",
    )
    .bind(&new.name)
    .bind(text("condition of a rule", &new.check)?)
    .bind(new.for_ms)
    .bind(new.keep_ms)
    .bind(new.severity.word())
    .bind(host)
    .bind(label_name)
    .bind(label_value)
    .bind(text("labels of a rule", &new.labels)?)
    .bind(new.enabled)
    .bind(who)
    .bind(now.0)
    .bind(who)
    .bind(now.0)
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// Changes a rule; false when there is none.
///
/// # Errors
/// Only the store's.
pub async fn update(
    conn: &mut Conn,
    id: i64,
    new: &Definition,
    who: &str,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let (host, label_name, label_value) = place(new.scope.as_ref());
    let done = sqlx::query(
        "UPDATE rules SET name = ?, condition = ?, for_ms = ?, keep_ms = ?, severity = ?, host = ?,
             label_name = ?, label_value = ?, labels = ?, enabled = ?, version = version + 1,
             updated_by = ?, updated_at = ? WHERE id = ?",
    )
    .bind(&new.name)
    .bind(text("condition of a rule", &new.check)?)
    .bind(new.for_ms)
    .bind(new.keep_ms)
    .bind(new.severity.word())
    .bind(host)
    .bind(label_name)
    .bind(label_value)
    .bind(text("labels of a rule", &new.labels)?)
    .bind(new.enabled)
    .bind(who)
    .bind(now.0)
    .bind(id)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Removes a rule that did not come with the product; false when there is none.
///
/// # Errors
/// Only the store's.
pub async fn remove(conn: &mut Conn, id: i64) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM rules WHERE id = ? AND builtin = ''").bind(id).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}
