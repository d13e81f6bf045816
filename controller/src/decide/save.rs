//! Writes what was decided, with what it rests on, and its audit record, in one transaction.

use serde_json::{Value, json};
use sysop_common::action::RunState;
use sysop_common::finding::Offer;
use sysop_common::grant::Grants;
use sysop_common::order::Origin;
use sysop_common::time::UnixMs;

use super::budget::Spent;
use super::load::{Scene, past, spent};
use super::plan::{self, Judged, Planned};
use super::policy::{Inputs, Wait, waits};
use super::risk::Assessed;
use super::{APPROVED_LIFE_MS, Ctx, FRESH_MS, trust};
use crate::audit::Record;
use crate::store::incidents::{self, Incident};
use crate::store::runs::{self, NewRun, RiskFactor, Run};
use crate::store::{Conn, StoreError, run_states};

/// An offer, its risk, and what keeps it from running by itself.
struct Weighed {
    offer: Offer,
    risk: Assessed,
    waits: Vec<Wait>,
    /// What else they rest on: owner of the process, whether something failed before, why it is not trusted.
    rests: Value,
}

/// What is to be done about an incident.
enum Step {
    Plan(Planned),
    /// A waiting proposal may now run.
    Approve(Box<Run>, usize),
    /// A waiting proposal is not offered any more.
    Withdraw(Box<Run>),
    /// A waiting proposal waits for other reasons than before.
    Note(Box<Run>, usize),
}

struct Evaluation {
    incident: Incident,
    scene: Scene,
    spent: Spent,
    weighed: Vec<Weighed>,
    step: Step,
}

/// Decides on one incident: looks first, and again inside the transaction that writes.
pub(super) async fn decide(ctx: &Ctx, incident: i64) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    if evaluate(ctx, &mut *ctx.db.reader().await?, incident, now).await?.is_none() {
        return Ok(());
    }
    let mut tx = ctx.db.begin().await?;
    let Some(evaluation) = evaluate(ctx, &mut tx, incident, now).await? else { return Ok(()) };
    let send = apply(ctx, &mut tx, &evaluation, now).await?;
    tx.commit().await?;
    ctx.wakes.runs.wake();
    if send {
        ctx.wakes.dispatch.wake();
    }
    Ok(())
}

async fn evaluate(
    ctx: &Ctx,
    conn: &mut Conn,
    incident: i64,
    now: UnixMs,
) -> Result<Option<Evaluation>, StoreError> {
    let Some(incident) = incidents::get(&mut *conn, incident).await? else { return Ok(None) };
    let Some(host) = incident.host.filter(|_| incident.closed_at.is_none()) else { return Ok(None) };
    let Some(scene) = Scene::load(&mut *conn, &ctx.samples, host, now).await? else { return Ok(None) };
    let runs = runs::of_incident(&mut *conn, incident.id).await?;
    let spent = spent(&mut *conn, host, Some(incident.id), now).await?;
    let past = past(&runs);
    let failed_before = plan::failed_before(&past);
    let mut weighed = Vec::with_capacity(incident.offers.len());
    for offer in &incident.offers {
        let risk = scene.assess(&mut *conn, &offer.action, Some(offer.risk)).await?;
        let user = scene.process_user(&offer.action);
        let doubt = trust::doubt(&mut *conn, offer.action.name(), incident.category).await?;
        let inputs = Inputs {
            action: &offer.action,
            risk: risk.risk,
            automation: scene.automation,
            maintenance: scene.maintenance.as_deref(),
            assignments: &scene.flags(offer.action.name()),
            source: offer.source,
            unattended: offer.unattended,
            fresh: is_fresh(&incident, offer, now),
            grants: &scene.host.grants,
            process_user: user.as_deref(),
            known: scene.knows(&offer.action),
            failed_before,
            doubt: doubt.as_deref(),
            spent: &spent,
        };
        let waits = waits(&inputs);
        let rests = json!({ "process_user": user, "failed_before": failed_before, "doubt": doubt });
        weighed.push(Weighed { offer: offer.clone(), risk, waits, rests });
    }
    let step = match waiting(&runs) {
        Some(run) => review(run, &weighed),
        None => {
            let judged: Vec<Judged> = weighed
                .iter()
                .map(|w| Judged { action: w.offer.action.clone(), waits: w.waits.clone() })
                .collect();
            plan::next(&judged, &past, incident.last_true).map(Step::Plan)
        }
    };
    Ok(step.map(|step| Evaluation { incident, scene, spent, weighed, step }))
}

/// Whether a sample of the last minutes shows the finding that the offer is for.
fn is_fresh(incident: &Incident, offer: &Offer, now: UnixMs) -> bool {
    incident.findings.iter().any(|finding| {
        finding.active
            && finding.fingerprint() == offer.finding
            && now.since(finding.last_true.max(incident.last_true)) <= FRESH_MS
    })
}

/// The proposal of ours that waits for a person.
fn waiting(runs: &[Run]) -> Option<&Run> {
    runs.iter().find(|run| run.state == RunState::AwaitingApproval && run.created_by == runs::BY_ANALYSER)
}

fn review(run: &Run, weighed: &[Weighed]) -> Option<Step> {
    let run = Box::new(run.clone());
    let Some(at) = weighed.iter().position(|w| w.offer.action == run.action) else {
        return Some(Step::Withdraw(run));
    };
    if weighed[at].waits.is_empty() {
        return Some(Step::Approve(run, at));
    }
    let changed = run.reason != reason(&weighed[at]) || run.risk != weighed[at].risk.risk;
    changed.then_some(Step::Note(run, at))
}

/// Why the proposal exists, and why it waits.
fn reason(weighed: &Weighed) -> String {
    let waits: Vec<String> = weighed.waits.iter().map(ToString::to_string).collect();
    if waits.is_empty() {
        return weighed.offer.why.clone();
    }
    format!("{}. Waits, since {}", weighed.offer.why.trim_end_matches('.'), waits.join("; "))
}

pub(super) fn factors(risk: &Assessed) -> Vec<RiskFactor> {
    let row = |f: &super::risk::Factor| RiskFactor {
        factor: f.factor.to_owned(),
        risk: f.risk,
        why: f.why.clone(),
    };
    risk.factors.iter().map(row).collect()
}

/// Writes the step; true when a run may now be sent.
async fn apply(ctx: &Ctx, conn: &mut Conn, evaluation: &Evaluation, now: UnixMs) -> Result<bool, StoreError> {
    match &evaluation.step {
        Step::Plan(planned) => insert(ctx, conn, evaluation, planned, now).await,
        Step::Approve(run, at) => {
            let weighed = &evaluation.weighed[*at];
            let mut next = (**run).clone();
            next.state = RunState::Approved;
            next.origin = Origin::Automatic;
            next.reason = reason(weighed);
            next.risk = weighed.risk.risk;
            next.risk_factors = factors(&weighed.risk);
            next.decided_by = Some(runs::BY_POLICY.to_owned());
            next.decided_at = Some(now);
            next.expires_at = Some(now.plus(APPROVED_LIFE_MS));
            next.updated_at = now;
            run_states::move_on(&mut *conn, &next, run.state).await?;
            let detail = inputs(evaluation, weighed, run.attempt);
            run_states::record(&mut *conn, run.id, "approved", &json!({ "by": runs::BY_POLICY }), now)
                .await?;
            let record = Record::policy("run.approve", format!("run:{}", run.id), detail);
            ctx.audit.append(conn, &record).await?;
            Ok(true)
        }
        Step::Withdraw(run) => {
            cancel(ctx, conn, run, "it is not offered any more", now).await?;
            Ok(false)
        }
        Step::Note(run, at) => {
            let weighed = &evaluation.weighed[*at];
            let mut next = (**run).clone();
            next.reason = reason(weighed);
            next.risk = weighed.risk.risk;
            next.risk_factors = factors(&weighed.risk);
            next.updated_at = now;
            run_states::move_on(conn, &next, run.state).await?;
            Ok(false)
        }
    }
}

async fn insert(
    ctx: &Ctx,
    conn: &mut Conn,
    evaluation: &Evaluation,
    planned: &Planned,
    now: UnixMs,
) -> Result<bool, StoreError> {
    let weighed = &evaluation.weighed[planned.offer];
    // A person's run with the same intent may be open outside this incident.
    let intent = runs::intent(evaluation.scene.host.id, &weighed.offer.action);
    if runs::by_intent(&mut *conn, &intent).await?.is_some() {
        return Ok(false);
    }
    let automatic = planned.automatic;
    let run = NewRun {
        host: evaluation.scene.host.id,
        incident: Some(evaluation.incident.id),
        action: weighed.offer.action.clone(),
        attempt: planned.attempt,
        state: if automatic { RunState::Approved } else { RunState::AwaitingApproval },
        risk: weighed.risk.risk,
        risk_factors: factors(&weighed.risk),
        origin: if automatic { Origin::Automatic } else { Origin::Person },
        reason: reason(weighed),
        created_by: runs::BY_ANALYSER.to_owned(),
        decided_by: automatic.then(|| runs::BY_POLICY.to_owned()),
        expires_at: automatic.then(|| now.plus(APPROVED_LIFE_MS)),
        request_key: None,
    };
    let run = runs::insert(&mut *conn, &run, now).await?;
    let offer = json!({ "offer": weighed.offer.id, "incident": evaluation.incident.id });
    run_states::record(&mut *conn, run.id, "proposed", &offer, now).await?;
    let by = json!({ "by": if automatic { runs::BY_POLICY } else { "nobody yet" }, "reason": run.reason });
    run_states::record(&mut *conn, run.id, run.state.word(), &by, now).await?;
    let action = if automatic { "run.approve" } else { "run.propose" };
    let detail = inputs(evaluation, weighed, run.attempt);
    ctx.audit.append(conn, &Record::policy(action, format!("run:{}", run.id), detail)).await?;
    Ok(automatic)
}

/// All that the decision rests on, so that it can be replayed from the record alone.
fn inputs(evaluation: &Evaluation, weighed: &Weighed, attempt: u32) -> Value {
    let Evaluation { incident, scene, spent, .. } = evaluation;
    let all = &scene.host.grants;
    // What the owner allows of this action; the rest has no say here.
    let grants = Grants {
        queries: Vec::new(),
        allow: all.of(weighed.offer.action.name()).cloned().collect(),
        ..all.clone()
    };
    json!({
        "incident": incident.id,
        "host": scene.host.id,
        "action": weighed.offer.action,
        "attempt": attempt,
        "offer": weighed.offer,
        "risk": weighed.risk.risk,
        "factors": factors(&weighed.risk),
        "waits": weighed.waits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "automation": scene.automation,
        "maintenance": scene.maintenance,
        "assignments": scene.flags(weighed.offer.action.name()),
        "policy": scene.host.grants.digest,
        "grants": grants,
        "process_user": weighed.rests["process_user"],
        "failed_before": weighed.rests["failed_before"],
        "doubt": weighed.rests["doubt"],
        "known": scene.knows(&weighed.offer.action),
        "fresh": is_fresh(incident, &weighed.offer, scene.now),
        "spent": { "incident": spent.incident, "host": spent.host, "other_hosts": spent.other_hosts,
                   "counted": spent.counted, "fleet": spent.fleet },
    })
}

/// Cancels proposals of ours whose incident is over.
pub(super) async fn withdraw(ctx: &Ctx) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    for run in &runs::outlived(&mut *ctx.db.reader().await?).await? {
        let mut tx = ctx.db.begin().await?;
        match cancel(ctx, &mut tx, run, "the trouble is gone", now).await {
            // A person was faster.
            Err(StoreError::Conflict(_)) => continue,
            done => done?,
        }
        tx.commit().await?;
        ctx.wakes.runs.wake();
    }
    Ok(())
}

async fn cancel(ctx: &Ctx, conn: &mut Conn, run: &Run, why: &str, now: UnixMs) -> Result<(), StoreError> {
    let mut next = run.clone();
    next.state = RunState::Cancelled;
    next.cancel_by = Some(runs::BY_POLICY.to_owned());
    next.cancel_at = Some(now);
    next.finished_at = Some(now);
    next.updated_at = now;
    next.detail = why.to_owned();
    run_states::move_on(&mut *conn, &next, run.state).await?;
    let detail = json!({ "by": runs::BY_POLICY, "why": why });
    run_states::record(&mut *conn, run.id, "cancelled", &detail, now).await?;
    ctx.audit.append(conn, &Record::policy("run.cancel", format!("run:{}", run.id), detail)).await?;
    Ok(())
}
