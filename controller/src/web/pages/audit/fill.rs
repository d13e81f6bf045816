//! Fills the audit's list.

use std::collections::BTreeMap;

use serde_json::Value;
use sysop_common::ids::{ControllerId, HostId};
use sysop_common::time::UnixMs;

use super::{Actor, AuditRow, AuditView};
use crate::store::audit::{self, AuditCursor, AuditFilter};
use crate::store::{Db, StoreError, hosts};
use crate::web::widgets::State;
use crate::web::widgets::format;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;

type Names = BTreeMap<HostId, String>;

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
    let names = names(db, &found).await?;
    let head = audit::head(&mut *db.reader().await?, controller).await?;
    Ok(AuditView {
        rows: found.iter().map(|found| row(found, &names)).collect(),
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

/// Names of the hosts that the records speak of. One that is gone keeps its id.
async fn names(db: &Db, rows: &[audit::AuditRow]) -> Result<Names, StoreError> {
    let mut names = Names::new();
    for id in rows.iter().flat_map(hosts_in) {
        if names.contains_key(&id) {
            continue;
        }
        match hosts::get(db, id).await {
            Ok(host) => names.insert(id, host.name),
            Err(StoreError::NotFound(_)) => names.insert(id, id.to_string()),
            Err(error) => return Err(error),
        };
    }
    Ok(names)
}

fn hosts_in(row: &audit::AuditRow) -> Vec<HostId> {
    let named = [&row.actor, &row.object].into_iter().filter_map(|text| text.strip_prefix("host:"));
    let details: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
    let within = details.get("host").and_then(Value::as_str);
    named.chain(within).filter_map(|id| id.parse().ok()).collect()
}

fn row(row: &audit::AuditRow, names: &Names) -> AuditRow {
    let (kind, name) = row.actor.split_once(':').unwrap_or(("", &row.actor));
    let actor = match (kind, row.actor.as_str()) {
        ("user" | "token", _) => Actor::Person,
        ("host", _) => Actor::Host,
        (_, "policy" | "analyser") => Actor::Rules,
        (_, "system") => Actor::Controller,
        _ => Actor::Unknown,
    };
    let who = match kind {
        "host" => named(name, names),
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
        detail: detail(row, names),
        href: href(&row.object),
        state: state(row),
        hash: row.hash.to_string(),
    }
}

/// The object, and the plain values of the details.
fn detail(row: &audit::AuditRow, names: &Names) -> String {
    let object = match row.object.strip_prefix("host:") {
        Some(id) => format!("host {}", named(id, names)),
        None => row.object.replacen(':', " ", 1),
    };
    let details: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
    let plain = details.as_object().into_iter().flatten().filter_map(|(key, value)| match value {
        Value::String(id) if key == "host" => Some(format!("host {}", named(id, names))),
        Value::String(text) if !text.is_empty() && text.len() <= 120 => Some(format!("{key} {text}")),
        Value::Number(at) if key.ends_with("_at") => {
            Some(format!("{} {} UTC", key.trim_end_matches("_at"), format::clock(at.as_i64()?)))
        }
        Value::Number(span) if key.ends_with("_ms") => {
            Some(format!("{} {}", key.trim_end_matches("_ms"), format::duration(span.as_i64()?)))
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

/// The host's name, or the text as it is.
fn named(id: &str, names: &Names) -> String {
    let name = id.parse().ok().and_then(|id: HostId| names.get(&id).cloned());
    name.unwrap_or_else(|| id.to_owned())
}

/// What the record says of how it went: its action's last word, or of a run's result the state.
fn state(row: &audit::AuditRow) -> Option<State> {
    let verb = row.action.rsplit('.').next().unwrap_or_default();
    let details: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
    let word = if verb == "result" { details.get("state").and_then(Value::as_str)? } else { verb };
    match word {
        "refused" | "result_refused" | "refuse" | "failed" | "denied" | "approve_denied" | "reject"
        | "rejected" | "deny" | "revoke" | "broken" | "unknown" | "not_verified" | "expire" | "expired"
        | "timed_out" | "beside_another" => Some(State::Warn),
        "approve" | "verified" | "succeeded" => Some(State::Ok),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysop_common::bytes::Digest;

    #[test]
    fn a_record_is_told_with_names_spans_and_how_it_went() {
        let host = "01a20f88-e059-7384-ac06-aba46ed8c8aa".parse::<HostId>().unwrap();
        let names = Names::from([(host, "web-1".to_owned())]);
        let record = |action: &str, object: String, detail: Value| audit::AuditRow {
            controller: "01a20f88-e035-741d-bfce-b1d5e305cbc1".parse().unwrap(),
            seq: 1,
            at: UnixMs(0),
            actor: format!("host:{host}"),
            action: action.to_owned(),
            object,
            detail: detail.to_string(),
            previous: Digest([0; 32]),
            hash: Digest([0; 32]),
        };
        let shown =
            row(&record("run.result", "run:7".into(), serde_json::json!({ "state": "refused" })), &names);
        assert_eq!((shown.who.as_str(), shown.state), ("web-1", Some(State::Warn)));
        let details = serde_json::json!({ "host": host.to_string(), "keep_ms": 3_600_000 });
        let shown = row(&record("x.y", format!("host:{host}"), details), &names);
        assert!(shown.detail.starts_with("host web-1, host web-1, keep 1 h"), "{}", shown.detail);
    }
}
