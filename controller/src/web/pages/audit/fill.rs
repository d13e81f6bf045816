//! Fills the audit's list.

use serde_json::Value;
use sysop_common::ids::ControllerId;
use sysop_common::time::UnixMs;

use super::{Actor, AuditRow, AuditView};
use crate::store::audit::{self, AuditCursor, AuditFilter};
use crate::store::{Db, StoreError};
use crate::web::widgets::State;
use crate::web::widgets::format;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;

/// Records on one part of the list.
const PART: usize = 50;

/// The view for this address; the chain's last check is the caller's.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(
    db: &Db,
    controller: ControllerId,
    query: Query,
    may_verify: bool,
) -> Result<AuditView, StoreError> {
    let text = |key: &str| query.get(key).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let filter = AuditFilter {
        object: text("q"),
        actor: text("actor"),
        action: text("action"),
        after: query.get("after").and_then(cursor),
        limit: PART as u32 + 1,
    };
    let mut found = audit::list(db, &filter).await?;
    let more = found.len() > PART;
    found.truncate(PART);
    let older = found.last().filter(|_| more).map(|row| {
        query.set("after", &format!("{}:{}:{}", row.at.0, row.controller, row.seq)).href("/audit")
    });
    let newer = query.get("after").map(|_| query.without_key("after").href("/audit"));
    let head = audit::head(&mut *db.reader().await?, controller).await?;
    Ok(AuditView {
        rows: found.iter().map(row).collect(),
        total: head.map_or(0, |(seq, _)| seq),
        check: None,
        head: head.map(|(_, hash)| hash.to_string()).unwrap_or_default(),
        paging: Paging { shown: format::counted(found.len() as u64, "record", "records"), newer, older },
        query,
        may_verify,
    })
}

fn cursor(text: &str) -> Option<AuditCursor> {
    let mut parts = text.splitn(3, ':');
    let at = UnixMs(parts.next()?.parse().ok()?);
    let controller = parts.next()?.parse().ok()?;
    Some(AuditCursor { at, controller, seq: parts.next()?.parse().ok()? })
}

fn row(row: &audit::AuditRow) -> AuditRow {
    let (kind, name) = row.actor.split_once(':').unwrap_or(("", &row.actor));
    let actor = match (kind, row.actor.as_str()) {
        ("user" | "token", _) => Actor::Person,
        ("host", _) => Actor::Host,
        (_, "policy" | "analyser") => Actor::Rules,
        (_, "system") => Actor::Controller,
        _ => Actor::Unknown,
    };
    let who = match kind {
        "token" => format!("{name} (token)"),
        _ if name.is_empty() => row.actor.clone(),
        _ => name.to_owned(),
    };
    AuditRow {
        seq: row.seq,
        at_ms: row.at.0,
        actor,
        who,
        action: row.action.clone(),
        detail: detail(row),
        href: href(&row.object),
        state: state(&row.action),
        hash: row.hash.to_string(),
    }
}

/// The object, and the plain values of the details.
fn detail(row: &audit::AuditRow) -> String {
    let object = row.object.replacen(':', " ", 1);
    let details: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
    let plain = details.as_object().into_iter().flatten().filter_map(|(key, value)| match value {
        Value::String(text) if !text.is_empty() && text.len() <= 120 => Some(format!("{key} {text}")),
        Value::Number(at) if key.ends_with("_at") => {
            Some(format!("{} {} UTC", key.trim_end_matches("_at"), format::clock(at.as_i64()?)))
        }
        Value::Number(number) => Some(format!("{key} {number}")),
        Value::Bool(yes) => Some(format!("{key} {}", if *yes { "yes" } else { "no" })),
        _ => None,
    });
    std::iter::once(object).chain(plain.take(5)).collect::<Vec<_>>().join(", ")
}

fn href(object: &str) -> Option<String> {
    let (kind, id) = object.split_once(':')?;
    match kind {
        "run" => Some(format!("/runs/{id}")),
        "incident" => Some(format!("/incidents/{id}")),
        "host" => Some(format!("/hosts/{id}")),
        _ => None,
    }
}

fn state(action: &str) -> Option<State> {
    let verb = action.rsplit('.').next().unwrap_or_default();
    match verb {
        "refused" | "failed" | "denied" | "reject" | "deny" | "revoke" | "broken" => Some(State::Warn),
        "approve" | "verified" | "succeeded" => Some(State::Ok),
        _ => None,
    }
}
