//! Fills the inbox.

use std::collections::HashMap;

use sysop_common::finding::Offer;
use sysop_common::ids::HostId;

use super::{ApprovalsView, Waiting};
use crate::store::incidents::Incident;
use crate::store::runs::{self, Run, RunFilter};
use crate::store::{StoreError, incidents};
use crate::web::pages::proposal::fill::{self as proposal, Viewer};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::{Source, Trouble, named};
use crate::web::pages::words;
use crate::web::widgets::format;

/// Decided runs that are shown.
const DECIDED: usize = 6;

/// The view; `chosen` is the run that the address names.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(
    source: Source<'_>,
    chosen: Option<&str>,
    viewer: &Viewer,
) -> Result<ApprovalsView, StoreError> {
    let (_, mut waiting, troubles) = source.troubles().await?;
    waiting.sort_by_key(|run| run.created_at);
    let recent = source.runs(RunFilter { limit: 100, ..RunFilter::default() }).await?;
    let decided: Vec<&Run> = recent.iter().filter(|run| run.decided_at.is_some()).take(DECIDED).collect();
    let names = source.names(waiting.iter().chain(decided.iter().copied()).map(|run| run.host)).await?;
    let mut view = ApprovalsView {
        chosen: waiting.iter().position(|run| Some(run.id.to_string().as_str()) == chosen).unwrap_or(0),
        decided: decided.into_iter().map(|run| Source::run_line(run, &names)).collect(),
        waiting: Vec::with_capacity(waiting.len()),
    };
    for run in &waiting {
        let incident = match run.incident {
            Some(id) => incidents::find(source.db, id).await?,
            None => None,
        };
        view.waiting.push(item(source, run, incident.as_ref(), (&names, &troubles), viewer));
    }
    Ok(view)
}

fn item(
    source: Source<'_>,
    run: &Run,
    incident: Option<&Incident>,
    (names, troubles): (&HashMap<HostId, HostRef>, &HashMap<HostId, Trouble>),
    viewer: &Viewer,
) -> Waiting {
    let offer: Option<&Offer> =
        incident.and_then(|incident| incident.offers.iter().find(|offer| offer.action == run.action));
    let origin = if run.created_by == runs::BY_ANALYSER {
        "proposed by rules".to_owned()
    } else {
        format!("asked by {}", run.created_by)
    };
    Waiting {
        proposal: proposal::fill(run, named(names, run.host), offer, viewer),
        incident: run.incident,
        origin,
        since_ms: run.created_at.0,
        host_now: host_now(source, run, troubles.get(&run.host)),
    }
}

/// The host in one line: what else is wrong, how busy it is.
fn host_now(source: Source<'_>, run: &Run, trouble: Option<&Trouble>) -> String {
    let mut parts = Vec::new();
    match trouble.and_then(|trouble| trouble.worst) {
        None => parts.push("No open incident".to_owned()),
        Some((severity, count)) => parts.push(format!(
            "{}, the worst {}",
            format::counted(count.into(), "open incident", "open incidents"),
            severity.word()
        )),
    }
    if let Some(latest) = source.samples.latest(run.host) {
        parts.extend(latest.value("cpu.usage", "").map(|cpu| format!("CPU {}", format::percent(cpu))));
        parts.extend(
            latest.value("memory.used_ratio", "").map(|used| format!("memory {}", format::percent(used))),
        );
        parts.extend(
            crate::web::pages::source::fullest(&latest)
                .map(|(mount, used)| format!("{mount} {}", format::percent(used))),
        );
    } else {
        parts.push("no sample yet".to_owned());
    }
    words::capital(&format!("{}.", parts.join(", ")))
}
