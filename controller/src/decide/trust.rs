//! Which actions may still run by themselves: those whose runs helped. What people say of incidents, and
//! what they tell the model, stands here too, since each is a change with its audit record.

use serde_json::json;
use sysop_common::finding::Category;
use sysop_common::time::UnixMs;

use super::{Ctx, DecideError, Person};
use crate::audit::Record;
use crate::store::feedback::{self, NewFeedback, Said};
use crate::store::incidents::{self, Incident};
use crate::store::model_prompts::{self, Scope};
use crate::store::trust::{self, Demotion};
use crate::store::users::Role;
use crate::store::{Conn, StoreError, analyses, host_facts};

/// Runs that count at most.
const WINDOW: u32 = 20;
/// With fewer runs than this their share says nothing.
const LEAST: usize = 5;
/// Below this share of runs that helped, in percent, an action waits for a person.
const BOUND: usize = 60;
/// Most characters of a note for the model.
pub const NOTE_CHARS: usize = 1_000;

/// Why an action may not run by itself after runs that ended like this, newest first. Pure.
#[must_use]
pub(super) fn judge(outcomes: &[bool]) -> Option<String> {
    if let [false, false, ..] = outcomes {
        return Some("its last two runs were not seen to help".to_owned());
    }
    let helped = outcomes.iter().filter(|helped| **helped).count();
    let poor = outcomes.len() >= LEAST && helped * 100 < outcomes.len() * BOUND;
    poor.then(|| format!("only {helped} of its last {} runs were seen to help", outcomes.len()))
}

/// Why an action may not run by itself for a kind of trouble.
pub(super) async fn doubt(
    conn: &mut Conn,
    action: &str,
    category: Category,
) -> Result<Option<String>, StoreError> {
    if let Some(held) = trust::demotion(&mut *conn, action, category).await? {
        return Ok(Some(held.reason));
    }
    Ok(judge(&trust::outcomes(conn, action, category, WINDOW).await?))
}

/// Takes the right to run by itself from every offered action whose runs stopped helping, for as long as
/// no person gives it back.
pub(super) async fn look(ctx: &Ctx, open: &[Incident]) -> Result<(), StoreError> {
    let mut pairs: Vec<(&'static str, Category)> = open
        .iter()
        .flat_map(|incident| incident.offers.iter().map(|offer| (offer.action.name(), incident.category)))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    for (action, category) in pairs {
        let mut conn = ctx.db.reader().await?;
        let held = trust::demotion(&mut conn, action, category).await?.is_some();
        let why = judge(&trust::outcomes(&mut conn, action, category, WINDOW).await?);
        drop(conn);
        let Some(why) = why.filter(|_| !held) else { continue };
        let mut tx = ctx.db.begin().await?;
        if trust::demote(&mut tx, action, category, &why, ctx.clock.now()).await? {
            let detail = json!({ "action": action, "category": category, "why": why });
            ctx.audit
                .append(&mut tx, &Record::policy("trust.demote", format!("action:{action}"), detail))
                .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Lets an action run by itself again.
///
/// # Errors
/// [`DecideError::NotFound`], [`DecideError::Forbidden`].
pub async fn lift_demotion(ctx: &Ctx, id: i64, person: &Person) -> Result<Demotion, DecideError> {
    person.needs(Role::Admin)?;
    let mut tx = ctx.db.begin().await?;
    let lifted = trust::lift(&mut tx, id, &person.name, ctx.clock.now()).await?;
    let detail = json!({ "action": lifted.action, "category": lifted.category, "was": lifted.reason });
    let record = Record::new(&person.principal, "trust.lift", format!("action:{}", lifted.action), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.decide.wake();
    Ok(lifted)
}

/// Notes what a person says of an incident. Their last word counts.
///
/// # Errors
/// [`DecideError::NotFound`], [`DecideError::Forbidden`].
pub async fn give_feedback(
    ctx: &Ctx,
    id: i64,
    said: Said,
    comment: &str,
    person: &Person,
) -> Result<(), DecideError> {
    person.needs(Role::Operator)?;
    let now: UnixMs = ctx.clock.now();
    let comment: String = comment.trim().chars().filter(|c| !c.is_control()).take(500).collect();
    let mut tx = ctx.db.begin().await?;
    let incident = incidents::get(&mut tx, id).await?.ok_or(DecideError::NotFound("incident"))?;
    let model = analyses::stated(&mut tx, id).await?;
    let new = NewFeedback {
        incident: id,
        category: incident.category,
        said,
        comment: &comment,
        confidence: incident.confidence,
        model: model.as_ref().map(|(model, stated)| (model.as_str(), *stated)),
        who: &person.name,
    };
    feedback::insert(&mut tx, &new, now).await?;
    let detail = json!({ "said": said.word(), "comment": comment, "model": model });
    let record = Record::new(&person.principal, "incident.feedback", format!("incident:{id}"), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.incidents.wake();
    Ok(())
}

/// Writes a note for the model, as a new version; an empty text takes the note away.
///
/// # Errors
/// [`DecideError::Invalid`] when it is too long, [`DecideError::NotFound`], [`DecideError::Forbidden`].
pub async fn set_model_note(
    ctx: &Ctx,
    scope: &Scope,
    text: &str,
    person: &Person,
) -> Result<i64, DecideError> {
    person.needs(Role::Admin)?;
    let text = text.trim();
    if text.chars().count() > NOTE_CHARS {
        return Err(DecideError::invalid("text", format!("must have at most {NOTE_CHARS} characters")));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\r' && c != '\t') {
        return Err(DecideError::invalid("text", "must not contain control characters"));
    }
    let mut tx = ctx.db.begin().await?;
    if let Scope::Host(host) = scope {
        host_facts::get(&mut tx, *host).await?.ok_or(DecideError::NotFound("host"))?;
    }
    let version = model_prompts::write(&mut tx, scope, text, &person.name, ctx.clock.now()).await?;
    let detail = json!({ "version": version, "text": text });
    let record = Record::new(&person.principal, "model.note", format!("note:{scope}"), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    ctx.wakes.incidents.wake();
    Ok(version)
}

#[cfg(test)]
mod tests {
    use sysop_common::action::RunState;

    use super::super::fixture::{Fixture, ann, bob, host_id, restart};
    use super::super::{look as decide, set_assignment};
    use super::*;
    use crate::store::assignments::Selector;
    use crate::store::{run_states, runs};

    #[test]
    fn two_failures_in_a_row_or_a_poor_share_take_the_right_away() {
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&[false]), None);
        assert_eq!(judge(&[true, false, false]), None);
        assert!(judge(&[false, false, true, true]).unwrap().contains("last two"));
        assert!(judge(&[true, false, true, false, false]).unwrap().contains("2 of its last 5"));
        assert_eq!(judge(&[true, false, true, false, true]), None);
    }

    /// Ends the newest run of an incident with this state, as dispatch would.
    async fn end(world: &Fixture, incident: i64, state: RunState) -> RunState {
        let mut tx = world.ctx.db.begin().await.unwrap();
        let run = runs::of_incident(&mut tx, incident).await.unwrap().pop().unwrap();
        let mut next = run.clone();
        (next.state, next.updated_at, next.finished_at) =
            (state, world.ctx.clock.now(), Some(world.ctx.clock.now()));
        run_states::move_on(&mut tx, &next, run.state).await.unwrap();
        tx.commit().await.unwrap();
        run.state
    }

    #[tokio::test]
    async fn an_action_that_stops_helping_waits_for_a_person_until_one_lifts_it() {
        let world = Fixture::new(4).await;
        for n in 1..=4 {
            set_assignment(&world.ctx, &Selector::Host(host_id(n)), "restart_service", true, &ann())
                .await
                .unwrap();
        }
        for n in 1..=2 {
            let id = world.incident(n, restart("nginx.service")).await;
            decide(&world.ctx).await.unwrap();
            assert_eq!(end(&world, id, RunState::NotVerified).await, RunState::Approved, "by itself");
            world.change(id, |incident| incident.closed_at = Some(super::super::fixture::NOW)).await;
            world.ctx.clock.advance(20 * 60_000);
        }
        let id = world.incident(3, restart("nginx.service")).await;
        decide(&world.ctx).await.unwrap();
        let run =
            runs::of_incident(&mut world.ctx.db.reader().await.unwrap(), id).await.unwrap().pop().unwrap();
        assert_eq!(run.state, RunState::AwaitingApproval);
        assert!(run.reason.contains("last two runs were not seen to help"), "{}", run.reason);
        let held = trust::demotions(&world.ctx.db).await.unwrap();
        assert_eq!((held.len(), held[0].action.as_str()), (1, "restart_service"));
        assert!(matches!(lift_demotion(&world.ctx, held[0].id, &bob()).await, Err(DecideError::Forbidden)));
        world.ctx.clock.advance(1_000);
        lift_demotion(&world.ctx, held[0].id, &ann()).await.unwrap();
        assert!(lift_demotion(&world.ctx, held[0].id, &ann()).await.is_err());
        world.change(id, |incident| incident.last_true = world.ctx.clock.now()).await;
        world.ctx.clock.advance(1_000);
        world.change(id, |incident| incident.findings[0].last_true = world.ctx.clock.now()).await;
        decide(&world.ctx).await.unwrap();
        let run =
            runs::of_incident(&mut world.ctx.db.reader().await.unwrap(), id).await.unwrap().pop().unwrap();
        assert_eq!(run.state, RunState::Approved, "{}", run.reason);
        let audited = world.audited().await;
        assert!(audited.contains(&"trust.demote".to_owned()) && audited.contains(&"trust.lift".to_owned()));
    }

    #[tokio::test]
    async fn feedback_and_notes_are_kept_with_who_said_them() {
        let world = Fixture::new(1).await;
        let id = world.incident(1, restart("nginx.service")).await;
        for said in [Said::Noise, Said::Right] {
            give_feedback(&world.ctx, id, said, " yes\u{7} ", &bob()).await.unwrap();
        }
        let words = feedback::of_incident(&world.ctx.db, id).await.unwrap();
        assert_eq!((words.len(), words[0].verdict.as_str(), words[0].comment.as_str()), (1, "right", "yes"));
        let mut conn = world.ctx.db.reader().await.unwrap();
        let known = feedback::of_category(&mut conn, Category::UnitFailed).await.unwrap();
        assert_eq!(known, [(100, None, true)]);
        let vic = Person::user("vic", Role::Viewer);
        assert!(give_feedback(&world.ctx, id, Said::Right, "", &vic).await.is_err());
        for (scope, text) in [("global", "all"), ("label:role=web", "web"), ("global", "all of them")] {
            set_model_note(&world.ctx, &scope.parse().unwrap(), text, &ann()).await.unwrap();
        }
        crate::store::testing::label(&world.ctx.db, host_id(1), "role", "web", "admin").await;
        let notes = model_prompts::of_host(&mut conn, host_id(1)).await.unwrap();
        let texts: Vec<(&str, i64)> = notes.iter().map(|note| (note.text.as_str(), note.version)).collect();
        assert_eq!(texts, [("all of them", 2), ("web", 1)]);
        assert!(set_model_note(&world.ctx, &Scope::Global, &"x".repeat(1_001), &ann()).await.is_err());
        assert!(matches!(
            set_model_note(&world.ctx, &Scope::Global, "x", &bob()).await,
            Err(DecideError::Forbidden)
        ));
        set_model_note(&world.ctx, &Scope::Global, "", &ann()).await.unwrap();
        assert_eq!(model_prompts::current(&world.ctx.db).await.unwrap().len(), 1);
        assert_eq!(model_prompts::versions(&world.ctx.db, &Scope::Global).await.unwrap().len(), 3);
    }
}
