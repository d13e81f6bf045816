//! Fills a run's page.

use serde_json::Value;
use sysop_common::action::RunState;
use sysop_common::ids::{OrderId, hex, sha256};

use super::{Output, RefusalView, RunView, Step};
use crate::decide::policy_line;
use crate::store::run_states::{RunEvent, Source as By};
use crate::store::runs::Run;
use crate::store::users::Role;
use crate::store::{StoreError, incidents, outputs, run_states, runs};
use crate::web::pages::proposal::fill::{self as proposal, Viewer};
use crate::web::pages::shared::run_state;
use crate::web::pages::source::{Source, named};
use crate::web::pages::words;
use crate::web::widgets::State;

/// Bytes of output that a page shows.
const SHOWN: usize = 64 * 1024;

/// The view of a run.
///
/// # Errors
/// When the store cannot be read, or has no such run.
pub async fn fill(source: Source<'_>, id: OrderId, viewer: &Viewer) -> Result<RunView, StoreError> {
    let run = runs::find(source.db, id).await?.ok_or(StoreError::NotFound("run"))?;
    let names = source.names([run.host]).await?;
    let host = named(&names, run.host);
    let events = run_states::events(source.db, id).await?;
    let incident = match run.incident {
        Some(id) => incidents::find(source.db, id).await?,
        None => None,
    };
    let offer = incident
        .as_ref()
        .and_then(|incident| incident.offers.iter().find(|offer| offer.action == run.action));
    let waits = run.state == RunState::AwaitingApproval;
    let may_cancel = viewer.role >= Role::Operator
        && !waits
        && matches!(
            run.state,
            RunState::Proposed | RunState::Approved | RunState::Claimed | RunState::Sent | RunState::Accepted
        );
    Ok(RunView {
        line: Source::run_line(&run, &names),
        incident: run.incident,
        reason: run.reason.clone(),
        steps: events.iter().map(|event| step(event, &host.name)).collect(),
        command: proposal::command(&run, &host.name),
        digest: run.signed_order.as_ref().map(|bytes| hex(&sha256(bytes))),
        factors: words::factors(&run.risk_factors),
        refusal: (run.state == RunState::Refused).then(|| refusal(&run)),
        output: output(source, &run).await?,
        proposal: waits.then(|| proposal::fill(&run, host, offer, viewer)),
        may_cancel,
        may_settle: viewer.role >= Role::Operator && run.state == RunState::Unknown && run.pending,
    })
}

fn step(event: &RunEvent, host: &str) -> Step {
    let detail: Value = serde_json::from_str(&event.detail).unwrap_or(Value::Null);
    let text = |key: &str| detail.get(key).and_then(Value::as_str).map(str::to_owned);
    let by = text("by").filter(|by| by != "nobody yet");
    let (state, word) = match RunState::from_word(&event.state) {
        Some(state) => run_state(state),
        None => other(&event.state, &detail),
    };
    let words = match (event.source, by) {
        (By::Host, _) => format!("{word}, says {host}"),
        (By::Controller, Some(by)) if matches!(event.state.as_str(), "approved" | "rejected") => {
            format!("{word} by {by}")
        }
        (By::Controller, Some(by)) => format!("{word}, {by}"),
        (By::Controller, None) => word.to_owned(),
    };
    Step {
        at_ms: event.at.0,
        state,
        words: words::capital(&words),
        detail: text("detail").or_else(|| text("why")).or_else(|| text("reason")).unwrap_or_default(),
    }
}

/// Words for events that are no states.
fn other(word: &str, detail: &Value) -> (State, &'static str) {
    match word {
        "checked" if detail.get("verified").and_then(Value::as_bool) == Some(true) => {
            (State::Ok, "its effect was seen")
        }
        "checked" => (State::Warn, "its effect was not seen"),
        "duplicate" => (State::Info, "the same order came again and was not run again"),
        "released" => (State::Info, "given back unsent"),
        "cancel_requested" => (State::Info, "asked to withdraw it"),
        "settled_by_person" => (State::Info, "settled by a person"),
        "finished" => (State::Info, "ended"),
        _ => (State::Info, "noted"),
    }
}

fn refusal(run: &Run) -> RefusalView {
    let word = run.refusal.clone().unwrap_or_default();
    let helps = matches!(word.as_str(), "not_allowed" | "parameter_not_allowed");
    let reason = if run.detail.is_empty() { word.replace('_', " ") } else { run.detail.clone() };
    // The lines to add are shown by themselves.
    let reason =
        if helps { reason.split("; to allow it").next().unwrap_or_default().to_owned() } else { reason };
    RefusalView {
        reason: words::capital(&reason),
        remedy: helps.then(|| policy_line(&run.action)),
        place: "/etc/sysop/policy.toml".to_owned(),
    }
}

async fn output(source: Source<'_>, run: &Run) -> Result<Option<Output>, StoreError> {
    let Some(bytes) = run.output_bytes else { return Ok(None) };
    let kept = outputs::read(source.db, run.id).await?;
    let shown = kept.get(..SHOWN.min(kept.len())).unwrap_or_default();
    // What a host prints is its text: control characters but line ends and tabs are not shown as they are.
    let text: String = String::from_utf8_lossy(shown)
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c })
        .collect();
    Ok(Some(Output { text, bytes, kept: shown.len() as u64 }))
}
