//! What people do: approve, reject, start, cancel, acknowledge. Each is one transaction with its
//! audit record.

use serde_json::json;
use sysop_common::action::{Action, Risk, RunState};
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::Origin;
use sysop_common::time::UnixMs;

use super::approval::{Denied, Request, judge};
use super::load::{Scene, past};
use super::risk::Assessed;
use super::save::factors;
use super::{APPROVED_LIFE_MS, Ctx, DecideError, policy};
use crate::audit::Record;
use crate::store::runs::{self, NewRun, Run};
use crate::store::users::{self, Role};
use crate::store::{Conn, Tx, incidents, run_states};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What acts: `user:ann` or `token:ci`.
    pub principal: String,
    /// The person behind it: `ann`, also for a token that ann made.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

impl Person {
    /// Someone who signed in.
    #[must_use]
    pub fn user(name: &str, role: Role) -> Self {
        Self { principal: format!("user:{name}"), name: name.to_owned(), role }
    }

    /// A token that `made_by` made.
    #[must_use]
    pub fn token(name: &str, made_by: &str, role: Role) -> Self {
        Self { principal: format!("token:{name}"), name: made_by.to_owned(), role }
    }

    /// Who it was, to be read later: `ann`, or `ann, by token ci`.
    fn shown(&self) -> String {
        match self.principal.strip_prefix("token:") {
            Some(token) => format!("{}, by token {token}", self.name),
            None => self.name.clone(),
        }
    }

    pub(super) fn needs(&self, role: Role) -> Result<(), DecideError> {
        if self.role >= role { Ok(()) } else { Err(DecideError::Forbidden) }
    }
}

/// A run that a person starts by hand.
#[derive(Debug, Clone)]
pub struct Start {
    /// On which host.
    pub host: HostId,
    /// What.
    pub action: Action,
    /// For which incident, if for one.
    pub incident: Option<i64>,
    /// Why, in the person's words; may be empty.
    pub reason: String,
    /// Idempotency key of the request: the same request again finds the same run.
    pub key: Option<String>,
}

async fn run_of(conn: &mut Conn, id: OrderId) -> Result<Run, DecideError> {
    runs::get(conn, id).await?.ok_or(DecideError::NotFound("run"))
}

/// How many people may approve.
async fn approvers(ctx: &Ctx) -> Result<usize, DecideError> {
    let users = users::list(&ctx.db, "", 1_000).await?;
    Ok(users.iter().filter(|user| user.role >= Role::Operator && user.disabled_at.is_none()).count())
}

async fn finish(ctx: &Ctx, tx: Tx, send: bool) -> Result<(), DecideError> {
    tx.commit().await?;
    ctx.wakes.runs.wake();
    ctx.wakes.decide.wake();
    if send {
        ctx.wakes.dispatch.wake();
    }
    Ok(())
}

/// Approves a run that waits. Low and medium risk: it may be sent. High risk: it stays, with the reason.
///
/// # Errors
/// [`DecideError::NotFound`], [`DecideError::Forbidden`], [`DecideError::Denied`]; when another decided
/// meanwhile, [`DecideError::Conflict`].
pub async fn approve(ctx: &Ctx, id: OrderId, person: &Person) -> Result<Run, DecideError> {
    person.needs(Role::Operator)?;
    let approvers = approvers(ctx).await?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let run = run_of(&mut tx, id).await?;
    let request = Request {
        state: run.state,
        risk: run.risk,
        created_by: &run.created_by,
        person: &person.name,
        approvers,
    };
    if let Err(denied) = judge(&request) {
        if !matches!(denied, Denied::NotWaiting(_)) {
            deny(ctx, tx, &run, person, denied, now).await?;
        }
        return Err(denied.into());
    }
    let mut next = run.clone();
    next.state = RunState::Approved;
    next.origin = Origin::Person;
    next.decided_by = Some(person.shown());
    next.decided_at = Some(now);
    next.expires_at = Some(now.plus(APPROVED_LIFE_MS));
    next.updated_at = now;
    run_states::move_on(&mut tx, &next, run.state).await?;
    let detail = json!({ "by": person.name, "risk": run.risk, "action": run.action, "host": run.host });
    run_states::record(&mut tx, id, "approved", &detail, now).await?;
    ctx.audit.append(&mut tx, &Record::new(&person.principal, "run.approve", object(id), detail)).await?;
    finish(ctx, tx, true).await?;
    Ok(next)
}

/// Records an approval that was not possible, and why the run stays.
async fn deny(
    ctx: &Ctx,
    mut tx: Tx,
    run: &Run,
    person: &Person,
    denied: Denied,
    now: UnixMs,
) -> Result<(), DecideError> {
    let mut next = run.clone();
    next.detail = denied.to_string();
    next.updated_at = now;
    run_states::move_on(&mut tx, &next, run.state).await?;
    let detail = json!({ "by": person.name, "why": denied.to_string() });
    run_states::record(&mut tx, run.id, "approval_denied", &detail, now).await?;
    let record = Record::new(&person.principal, "run.approve_denied", object(run.id), detail);
    ctx.audit.append(&mut tx, &record).await?;
    finish(ctx, tx, false).await
}

/// Rejects a run that waits: it is not proposed again for this incident.
///
/// # Errors
/// As [`approve`].
pub async fn reject(ctx: &Ctx, id: OrderId, person: &Person, why: &str) -> Result<Run, DecideError> {
    person.needs(Role::Operator)?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let run = run_of(&mut tx, id).await?;
    if run.state != RunState::AwaitingApproval {
        return Err(Denied::NotWaiting(run.state).into());
    }
    let mut next = run.clone();
    next.state = RunState::Rejected;
    next.decided_by = Some(person.shown());
    next.decided_at = Some(now);
    next.finished_at = Some(now);
    next.updated_at = now;
    next.detail = cut(why);
    run_states::move_on(&mut tx, &next, run.state).await?;
    let detail = json!({ "by": person.name, "why": next.detail });
    run_states::record(&mut tx, id, "rejected", &detail, now).await?;
    ctx.audit.append(&mut tx, &Record::new(&person.principal, "run.reject", object(id), detail)).await?;
    finish(ctx, tx, false).await?;
    Ok(next)
}

/// Starts a run by hand. Low and medium risk: its own approval. High risk: it waits, with the reason.
///
/// # Errors
/// [`DecideError::Invalid`] names the parameter; [`DecideError::Conflict`] when the same is open, or the
/// key was used for something else.
pub async fn start_run(ctx: &Ctx, start: &Start, person: &Person) -> Result<Run, DecideError> {
    person.needs(Role::Operator)?;
    start.action.validate()?;
    if start.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 200) {
        return Err(DecideError::invalid("idempotency key", "must be 1 to 200 bytes"));
    }
    let request_key = start.key.as_ref().map(|key| format!("{}\n{key}", person.principal));
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    if let Some(key) = &request_key
        && let Some(run) = runs::by_request(&mut tx, key).await?
    {
        let same = run.host == start.host && run.action == start.action && run.incident == start.incident;
        let other = "this idempotency key was used for another run; choose a new one";
        return if same { Ok(run) } else { Err(DecideError::Conflict(other.to_owned())) };
    }
    let run = new_run(ctx, &mut tx, start, person, request_key, now).await?;
    let run = runs::insert(&mut tx, &run, now).await?;
    let detail = json!({ "by": person.name, "risk": run.risk, "factors": run.risk_factors,
        "action": run.action, "host": run.host, "incident": run.incident, "reason": run.reason });
    run_states::record(&mut tx, run.id, run.state.word(), &detail, now).await?;
    let record = Record::new(&person.principal, "run.start", object(run.id), detail);
    ctx.audit.append(&mut tx, &record).await?;
    finish(ctx, tx, run.state == RunState::Approved).await?;
    Ok(run)
}

/// What starting `action` on `host` would come to: its risk, and whether it would run without another
/// person. Nothing is stored.
///
/// # Errors
/// [`DecideError::NotFound`] for an unknown host, [`DecideError::Invalid`] for a parameter out of range.
pub async fn preview(ctx: &Ctx, host: HostId, action: &Action) -> Result<Assessed, DecideError> {
    action.validate()?;
    let mut conn = ctx.db.reader().await?;
    let scene = Scene::load(&mut conn, &ctx.samples, host, ctx.clock.now()).await?;
    let scene = scene.ok_or(DecideError::NotFound("host"))?;
    Ok(scene.assess(&mut conn, action, None).await?)
}

async fn new_run(
    ctx: &Ctx,
    tx: &mut Tx,
    start: &Start,
    person: &Person,
    request_key: Option<String>,
    now: UnixMs,
) -> Result<NewRun, DecideError> {
    let scene = Scene::load(&mut *tx, &ctx.samples, start.host, now).await?;
    let scene = scene.ok_or(DecideError::NotFound("host"))?;
    if let Some(open) = runs::by_intent(&mut *tx, &runs::intent(start.host, &start.action)).await? {
        return Err(DecideError::Conflict(format!(
            "run {} does the same and is {}; approve, cancel or settle that one",
            open.id,
            open.state.word()
        )));
    }
    if scene.host.last_seen.0 > 0 && !scene.knows(&start.action) {
        let name = start.action.name();
        return Err(DecideError::Conflict(format!(
            "the host's agent does not know {name}; update the agent"
        )));
    }
    if scene.host.last_seen.0 > 0 && !scene.host.grants.executor {
        return Err(DecideError::Conflict(
            "the host runs no executor: nothing can be done there before its owner enables it on the host, with \
             systemctl enable --now sysop-executor.socket"
                .to_owned(),
        ));
    }
    let mut attempt = 1;
    if let Some(id) = start.incident {
        let incident = incidents::get(&mut *tx, id).await?.filter(|found| found.host == Some(start.host));
        let incident = incident.ok_or(DecideError::NotFound("incident"))?;
        let before = past(&runs::of_incident(&mut *tx, incident.id).await?);
        let same =
            before.iter().filter(|run| run.action == start.action || same_plan(&run.action, &start.action));
        attempt = same.map(|run| run.attempt).max().unwrap_or(0) + 1;
    }
    let risk = scene.assess(&mut *tx, &start.action, None).await?;
    let may = risk.risk < Risk::High;
    let mut reason = cut(&start.reason);
    if reason.is_empty() {
        reason = format!("started by {}", person.shown());
    }
    if !may {
        reason = format!("{reason}. Waits, since {}", Denied::NeedsSignature);
    } else {
        let user = scene.process_user(&start.action);
        if !policy::granted(&scene.host.grants, &start.action, user.as_deref(), false) {
            let line = policy::policy_line(&start.action);
            reason = format!(
                "{reason}. The host will refuse it unless its owner adds to /etc/sysop/policy.toml:\n{line}"
            );
        }
    }
    Ok(NewRun {
        host: start.host,
        incident: start.incident,
        action: start.action.clone(),
        attempt,
        state: if may { RunState::Approved } else { RunState::AwaitingApproval },
        risk: risk.risk,
        risk_factors: factors(&risk),
        origin: Origin::Person,
        reason,
        created_by: person.name.clone(),
        decided_by: may.then(|| person.shown()),
        expires_at: may.then(|| now.plus(APPROVED_LIFE_MS)),
        request_key,
    })
}

/// Whether two actions share a row of the plan's unique key.
fn same_plan(a: &Action, b: &Action) -> bool {
    a.name() == b.name() && a.target() == b.target()
}

/// Cancels a run: at once while it was not claimed, else by asking the host, whose word it then is.
///
/// # Errors
/// [`DecideError::Conflict`] when it has started or ended.
pub async fn cancel_run(ctx: &Ctx, id: OrderId, person: &Person) -> Result<Run, DecideError> {
    person.needs(Role::Operator)?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let run = run_of(&mut tx, id).await?;
    let mut next = run.clone();
    next.cancel_by = Some(person.shown());
    next.cancel_at = Some(now);
    next.updated_at = now;
    let word = match run.state {
        RunState::Proposed | RunState::AwaitingApproval | RunState::Approved => {
            next.state = RunState::Cancelled;
            next.finished_at = Some(now);
            next.detail = format!("cancelled by {} before it was sent", person.shown());
            "cancelled"
        }
        RunState::Claimed | RunState::Sent | RunState::Accepted => "cancel_requested",
        state => {
            let state = state.word();
            return Err(DecideError::Conflict(format!(
                "the run is {state} and cannot be cancelled any more"
            )));
        }
    };
    run_states::move_on(&mut tx, &next, run.state).await?;
    let detail = json!({ "by": person.name, "was": run.state.word() });
    run_states::record(&mut tx, id, word, &detail, now).await?;
    ctx.audit.append(&mut tx, &Record::new(&person.principal, "run.cancel", object(id), detail)).await?;
    finish(ctx, tx, true).await?;
    Ok(next)
}

/// Says that a person looked at the host after a run of unknown outcome: the same may be planned again.
///
/// # Errors
/// [`DecideError::Conflict`] when its outcome is known.
pub async fn settle_unknown(ctx: &Ctx, id: OrderId, person: &Person, found: &str) -> Result<(), DecideError> {
    person.needs(Role::Operator)?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    run_of(&mut tx, id).await?;
    run_states::release_unknown(&mut tx, id, now).await?;
    let detail = json!({ "by": person.name, "found": cut(found) });
    run_states::record(&mut tx, id, "settled_by_person", &detail, now).await?;
    let record = Record::new(&person.principal, "run.settle", object(id), detail);
    ctx.audit.append(&mut tx, &record).await?;
    finish(ctx, tx, false).await
}

/// Notes that a person knows of an incident; false when someone said so before.
///
/// # Errors
/// [`DecideError::NotFound`], [`DecideError::Forbidden`].
pub async fn ack_incident(ctx: &Ctx, id: i64, person: &Person) -> Result<bool, DecideError> {
    person.needs(Role::Operator)?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    incidents::get(&mut tx, id).await?.ok_or(DecideError::NotFound("incident"))?;
    let first = incidents::ack(&mut tx, id, &person.name, now).await?;
    if first {
        let record = Record::new(&person.principal, "incident.ack", format!("incident:{id}"), json!({}));
        ctx.audit.append(&mut tx, &record).await?;
    }
    tx.commit().await?;
    ctx.wakes.incidents.wake();
    Ok(first)
}

fn object(id: OrderId) -> String {
    format!("run:{id}")
}

/// A person's words, without control characters and cut to 500 characters.
fn cut(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(500).collect()
}
