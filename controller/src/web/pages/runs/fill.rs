//! Fills the list of runs.

use sysop_common::action::RunState;
use sysop_common::ids::HostId;

use super::RunsView;
use crate::store::StoreError;
use crate::store::runs::{Run, RunFilter};
use crate::web::pages::source::{Source, named};
use crate::web::widgets::format;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;

/// Runs on one part of the list.
const PART: usize = 50;
/// Runs that are looked through for one part when not all fit.
const LOOK: u32 = 500;

/// The view for this address.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(source: Source<'_>, query: Query) -> Result<RunsView, StoreError> {
    let host: Option<HostId> = query.get("host").and_then(|id| id.parse().ok());
    let before = query.get("after").and_then(|id| id.parse().ok());
    let show = query.get("show").unwrap_or("all").to_owned();
    let found = source.runs(RunFilter { host, before, limit: LOOK, ..RunFilter::default() }).await?;
    let mut fitting = found.iter().filter(|run| fits(run, &show));
    let part: Vec<&Run> = fitting.by_ref().take(PART).collect();
    let more = fitting.next().is_some() || (found.len() as u32 == LOOK && part.len() < PART);
    let last = if part.len() < PART { found.last() } else { part.last().copied() };
    let names = source.names(part.iter().map(|run| run.host).chain(host)).await?;
    let older = last.filter(|_| more).map(|run| query.set("after", &run.id.to_string()).href("/runs"));
    let newer = before.map(|_| query.without_key("after").href("/runs"));
    let paging = Paging { shown: format::counted(part.len() as u64, "run", "runs"), newer, older };
    let rows = part.into_iter().map(|run| Source::run_line(run, &names)).collect();
    Ok(RunsView { rows, host: host.map(|id| named(&names, id)), query, paging })
}

fn fits(run: &Run, show: &str) -> bool {
    match show {
        "open" => !run.state.is_final(),
        "failed" => matches!(
            run.state,
            RunState::Failed
                | RunState::TimedOut
                | RunState::Refused
                | RunState::Unknown
                | RunState::NotVerified
        ),
        _ => true,
    }
}
