//! What operators set as rules: checked, stored and written into the audit chain in one transaction.

use serde_json::json;

use super::{Ctx, DecideError, Person};
use crate::audit::Record;
use crate::rules::{MAX_RULES, Wrong, check};
use crate::store::assignments::Selector;
use crate::store::rules::{self, Definition, Rule};
use crate::store::users::Role;
use crate::store::{Conn, host_facts};

impl From<Wrong> for DecideError {
    fn from(wrong: Wrong) -> Self {
        Self::invalid(wrong.field, wrong.must)
    }
}

/// Makes a rule.
///
/// # Errors
/// [`DecideError::Invalid`] names the field that does not fit; [`DecideError::Conflict`] when there are too
/// many.
pub async fn create_rule(ctx: &Ctx, written: &Definition, person: &Person) -> Result<Rule, DecideError> {
    person.needs(Role::Operator)?;
    check(written)?;
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    if rules::count(&mut tx).await? >= MAX_RULES {
        let why = format!("there are {MAX_RULES} rules already: delete one that is not needed");
        return Err(DecideError::Conflict(why));
    }
    fits(&mut tx, None, written).await?;
    let id = rules::insert(&mut tx, written, &person.name, now).await?;
    let made = rules::get(&mut tx, id).await?.ok_or(DecideError::NotFound("rule"))?;
    ctx.audit.append(&mut tx, &record(person, "rule.create", id, json!({ "rule": written }))).await?;
    tx.commit().await?;
    ctx.wakes.samples.wake();
    Ok(made)
}

/// Changes a rule. One that came with the product can only be switched.
///
/// # Errors
/// As [`create_rule`], and [`DecideError::NotFound`].
pub async fn change_rule(
    ctx: &Ctx,
    id: i64,
    written: &Definition,
    person: &Person,
) -> Result<Rule, DecideError> {
    person.needs(Role::Operator)?;
    check(written)?;
    let mut tx = ctx.db.begin().await?;
    let before = rules::get(&mut tx, id).await?.ok_or(DecideError::NotFound("rule"))?;
    if before.definition == *written {
        return Ok(before);
    }
    let switched = Definition { enabled: written.enabled, ..before.definition.clone() };
    if !before.builtin.is_empty() && switched != *written {
        let why = "this rule came with the product: it can be switched off and copied, not changed";
        return Err(DecideError::Conflict(why.to_owned()));
    }
    fits(&mut tx, Some(id), written).await?;
    rules::update(&mut tx, id, written, &person.name, ctx.clock.now()).await?;
    let after = rules::get(&mut tx, id).await?.ok_or(DecideError::NotFound("rule"))?;
    let detail = json!({ "before": before.definition, "rule": written });
    ctx.audit.append(&mut tx, &record(person, "rule.change", id, detail)).await?;
    tx.commit().await?;
    ctx.wakes.samples.wake();
    Ok(after)
}

/// Deletes a rule that did not come with the product; incidents of it close.
///
/// # Errors
/// [`DecideError::NotFound`], and [`DecideError::Conflict`] for one that came with the product.
pub async fn remove_rule(ctx: &Ctx, id: i64, person: &Person) -> Result<(), DecideError> {
    person.needs(Role::Operator)?;
    let mut tx = ctx.db.begin().await?;
    let before = rules::get(&mut tx, id).await?.ok_or(DecideError::NotFound("rule"))?;
    if !rules::remove(&mut tx, id).await? {
        let why = "this rule came with the product and cannot be deleted: switch it off";
        return Err(DecideError::Conflict(why.to_owned()));
    }
    let detail = json!({ "rule": before.definition });
    ctx.audit.append(&mut tx, &record(person, "rule.delete", id, detail)).await?;
    tx.commit().await?;
    ctx.wakes.samples.wake();
    Ok(())
}

fn record(person: &Person, action: &'static str, id: i64, detail: serde_json::Value) -> Record {
    Record::new(&person.principal, action, format!("rule:{id}"), detail)
}

/// Whether its name is free and its host is there.
async fn fits(conn: &mut Conn, id: Option<i64>, written: &Definition) -> Result<(), DecideError> {
    let other = rules::named(conn, &written.name).await?;
    if other.is_some() && other != id {
        return Err(DecideError::invalid("name", "is that of another rule: choose another one"));
    }
    if let Some(Selector::Host(host)) = &written.scope
        && host_facts::get(conn, *host).await?.is_none()
    {
        return Err(DecideError::invalid("scope", "names a host that is not there: choose one of the list"));
    }
    Ok(())
}
