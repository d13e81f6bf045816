//! What admins and operators set for decisions: assignments, the kill switch, maintenance windows.

use serde_json::json;
use sysop_common::action::entry_by_name;
use sysop_common::time::{DAY_MS, UnixMs};

use super::load::valid_hours;
use super::{Ctx, DecideError, Person};
use crate::audit::Record;
use crate::store::assignments::{self, Assignment, Selector};
use crate::store::maintenance::{self, Window};
use crate::store::users::Role;
use crate::store::{host_facts, settings};

/// Longest maintenance window, in ms.
const LONGEST_WINDOW_MS: i64 = 31 * DAY_MS;
/// Farthest end of a maintenance window, in ms from now.
const FARTHEST_WINDOW_MS: i64 = 400 * DAY_MS;

/// Assigns an action to a host or to hosts with an admin's label; `automatic` lets policy run it.
///
/// # Errors
/// [`DecideError::Invalid`] for an unknown action or a label of the agent's own.
pub async fn set_assignment(
    ctx: &Ctx,
    selector: &Selector,
    action: &str,
    automatic: bool,
    person: &Person,
) -> Result<Assignment, DecideError> {
    person.needs(Role::Admin)?;
    if entry_by_name(action).is_none() {
        return Err(DecideError::invalid("action", "is not in the catalogue"));
    }
    if let Selector::Label { name, value } = selector {
        check_label(name, value)?;
    }
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    if let Selector::Host(host) = selector {
        host_facts::get(&mut tx, *host).await?.ok_or(DecideError::NotFound("host"))?;
    }
    let set = assignments::set(&mut tx, selector, action, automatic, &person.name, now).await?;
    let detail = json!({ "to": selector_text(selector), "action": action, "automatic": automatic });
    let object = format!("assignment:{}", set.id);
    ctx.audit.append(&mut tx, &Record::new(&person.principal, "assignment.set", object, detail)).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    Ok(set)
}

/// Takes an assignment away.
///
/// # Errors
/// [`DecideError::NotFound`].
pub async fn remove_assignment(ctx: &Ctx, id: &str, person: &Person) -> Result<(), DecideError> {
    person.needs(Role::Admin)?;
    let mut tx = ctx.db.begin().await?;
    let found = assignments::get(&mut tx, id).await?.ok_or(DecideError::NotFound("assignment"))?;
    assignments::remove(&mut tx, id).await?;
    let detail = json!({ "from": selector_text(&found.selector), "action": found.action });
    let record = Record::new(&person.principal, "assignment.remove", format!("assignment:{id}"), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    Ok(())
}

/// The kill switch: off freezes whatever would run without a person, also what is approved but not
/// sent. Operators may turn it off, admins on.
///
/// # Errors
/// [`DecideError::Forbidden`].
pub async fn set_automation(ctx: &Ctx, on: bool, person: &Person) -> Result<(), DecideError> {
    person.needs(if on { Role::Admin } else { Role::Operator })?;
    let value = if on { "on" } else { "off" };
    setting(ctx, settings::AUTOMATION, value, person).await
}

/// Hours of the day, UTC, in which an interruption counts as riskier: `8-18`, or empty for none.
///
/// # Errors
/// [`DecideError::Invalid`], [`DecideError::Forbidden`].
pub async fn set_busy_hours(ctx: &Ctx, hours: &str, person: &Person) -> Result<(), DecideError> {
    person.needs(Role::Admin)?;
    if !valid_hours(hours) {
        return Err(DecideError::invalid(
            "busy_hours",
            "must be two hours of the day such as 8-18, or empty",
        ));
    }
    setting(ctx, settings::BUSY_HOURS, hours, person).await
}

async fn setting(ctx: &Ctx, name: &'static str, value: &str, person: &Person) -> Result<(), DecideError> {
    let mut tx = ctx.db.begin().await?;
    let before = settings::set(&mut tx, name, value, ctx.clock.now()).await?;
    let detail = json!({ "before": before, "value": value });
    let record = Record::new(&person.principal, "setting.set", format!("setting:{name}"), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    ctx.wakes.dispatch.wake();
    Ok(())
}

/// Sets a maintenance window on a host, on hosts with an admin's label, or on all with `None`.
///
/// # Errors
/// [`DecideError::Invalid`] when it is over, empty or longer than 31 days.
pub async fn set_maintenance(
    ctx: &Ctx,
    on: Option<Selector>,
    (from, until): (UnixMs, UnixMs),
    reason: &str,
    person: &Person,
) -> Result<Window, DecideError> {
    person.needs(Role::Operator)?;
    let now = ctx.clock.now();
    let far = now.plus(FARTHEST_WINDOW_MS);
    if from < UnixMs(0) || from > far {
        return Err(DecideError::invalid("from", "must be a time of at most 400 days from now"));
    }
    if until > far {
        return Err(DecideError::invalid("until", "must be a time of at most 400 days from now"));
    }
    if until <= from || until <= now || until.since(from) > LONGEST_WINDOW_MS {
        let problem = "must be after the start and after now, and at most 31 days after the start";
        return Err(DecideError::invalid("until", problem));
    }
    let reason = reason.trim().to_owned();
    if reason.chars().count() > 200 || reason.chars().any(char::is_control) {
        let problem = "must have at most 200 characters, without control characters";
        return Err(DecideError::invalid("reason", problem));
    }
    if let Some(Selector::Label { name, value }) = &on {
        check_label(name, value)?;
    }
    let mut tx = ctx.db.begin().await?;
    if let Some(Selector::Host(host)) = &on {
        host_facts::get(&mut tx, *host).await?.ok_or(DecideError::NotFound("host"))?;
    }
    let place = on.as_ref().map_or_else(|| "all".to_owned(), selector_text);
    let window = maintenance::insert(&mut tx, on, (from, until), &reason, &person.name, now).await?;
    let detail = json!({ "on": place, "from": from, "until": until, "reason": reason });
    let object = format!("maintenance:{}", window.id);
    ctx.audit.append(&mut tx, &Record::new(&person.principal, "maintenance.set", object, detail)).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    Ok(window)
}

/// Ends a maintenance window now.
///
/// # Errors
/// [`DecideError::NotFound`] when none with this id still holds or is to come.
pub async fn end_maintenance(ctx: &Ctx, id: &str, person: &Person) -> Result<(), DecideError> {
    person.needs(Role::Operator)?;
    let mut tx = ctx.db.begin().await?;
    if !maintenance::end(&mut tx, id, ctx.clock.now()).await? {
        return Err(DecideError::NotFound("maintenance window"));
    }
    let record = Record::new(&person.principal, "maintenance.end", format!("maintenance:{id}"), json!({}));
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    Ok(())
}

fn check_label(name: &str, value: &str) -> Result<(), DecideError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(DecideError::invalid("label", "must be 1 to 64 letters, digits, '.', '_', '-' or '/'"));
    }
    if name.starts_with("host.") {
        let problem =
            "is announced by the host itself and cannot select for rights; use a label that an admin set";
        return Err(DecideError::invalid("label", problem));
    }
    if value.len() > 128 {
        return Err(DecideError::invalid("value", "must be at most 128 bytes"));
    }
    Ok(())
}

fn selector_text(selector: &Selector) -> String {
    match selector {
        Selector::Host(host) => format!("host:{host}"),
        Selector::Label { name, value } => format!("label:{name}={value}"),
    }
}
