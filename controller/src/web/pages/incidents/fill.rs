//! Fills the list of incidents.

use std::collections::HashMap;

use sysop_common::action::RunState;
use sysop_common::ids::HostId;
use sysop_common::time::DAY_MS;

use super::IncidentsView;
use crate::store::incidents::{Incident, IncidentFilter};
use crate::store::{StoreError, incidents, runs};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::Source;
use crate::web::widgets::format;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;

/// Incidents on one part of the list.
const PART: usize = 50;

/// The view for this address.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(source: Source<'_>, query: Query) -> Result<IncidentsView, StoreError> {
    let host: Option<HostId> = query.get("host").and_then(|id| id.parse().ok());
    let show = query.get("show").unwrap_or("open");
    let filter = IncidentFilter {
        host,
        open: match show {
            "open" => Some(true),
            "closed" => Some(false),
            _ => None,
        },
        severity: None,
        before: query.get("after").and_then(|id| id.parse().ok()),
        limit: PART as u32 + 1,
    };
    let mut found = incidents::list(source.db, filter).await?;
    let more = found.len() > PART;
    found.truncate(PART);
    if show == "open" {
        found.sort_by_key(|incident| std::cmp::Reverse((incident.severity, incident.opened_at)));
    }
    let names = source.names(found.iter().filter_map(|incident| incident.host).chain(host)).await?;
    let repairs = repairs(source, &found).await?;
    let rows = found
        .iter()
        .map(|i| Source::incident_line(i, &names, repairs.get(&i.id).copied()))
        .collect::<Vec<_>>();
    let last = found.iter().map(|incident| incident.id).min();
    let older = last.filter(|_| more).map(|id| query.set("after", &id.to_string()).href("/incidents"));
    let newer = query.get("after").map(|_| query.without_key("after").href("/incidents"));
    let paging = Paging { shown: format::counted(rows.len() as u64, "incident", "incidents"), newer, older };
    let host = host.map(|id| {
        names.get(&id).cloned().unwrap_or_else(|| HostRef { id: id.to_string(), name: id.to_string() })
    });
    let open = incidents::open_counts(source.db).await?.iter().map(|(_, _, n)| u64::from(*n)).sum();
    Ok(IncidentsView { rows, open, closed: closed(source).await?, host, query, paging })
}

/// Where the newest run of each stands.
async fn repairs(source: Source<'_>, found: &[Incident]) -> Result<HashMap<i64, RunState>, StoreError> {
    let mut conn = source.db.reader().await?;
    let mut states = HashMap::new();
    for incident in found {
        let runs = runs::of_incident(&mut conn, incident.id).await?;
        if let Some(newest) = runs.iter().max_by_key(|run| run.created_at) {
            states.insert(incident.id, newest.state);
        }
    }
    Ok(states)
}

/// Incidents closed in the last 7 days, as far as one look tells.
async fn closed(source: Source<'_>) -> Result<u64, StoreError> {
    let filter = IncidentFilter { host: None, open: Some(false), severity: None, before: None, limit: 1_000 };
    let since = source.now.plus(-7 * DAY_MS);
    let found = incidents::list(source.db, filter).await?;
    Ok(found.iter().filter(|incident| incident.closed_at.is_some_and(|at| at >= since)).count() as u64)
}
