mod pure;
mod replayed;

use proptest::prelude::*;
use sysop_common::action::{Action, ProcessRef, Risk, RunState};
use sysop_common::finding::OfferSource;
use sysop_common::grant::{Allowed, Grants};
use sysop_common::ids::HostId;
use sysop_common::order::Origin;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::budget::Spent;
use super::fixture::{Fixture, NOW, ann, bob, host_id, inventory, restart, with_risk};
use super::plan::{Judged, Past, next};
use super::policy::{Inputs, Wait, waits};
use super::risk::{Circumstances, assess};
use super::*;
use crate::store::assignments::Selector;
use crate::store::runs::{self, Run, RunFilter};
use crate::store::users::Role;
use crate::store::{run_states, testing};

async fn all_runs(fixture: &Fixture) -> Vec<Run> {
    runs::list(&fixture.ctx.db, RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap()
}

async fn assign(fixture: &Fixture, host: u128, automatic: bool) {
    let selector = Selector::Host(host_id(host));
    set_assignment(&fixture.ctx, &selector, "restart_service", automatic, &ann()).await.unwrap();
}

#[tokio::test]
async fn without_the_flag_a_proposal_waits_and_the_flag_lets_it_run_once() {
    let fixture = Fixture::new(1).await;
    fixture.incident(1, restart("nginx.service")).await;
    for _ in 0..3 {
        look(&fixture.ctx).await.unwrap();
    }
    let runs = all_runs(&fixture).await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].state, runs[0].risk), (RunState::AwaitingApproval, Risk::Medium));
    assert!(runs[0].reason.contains("not assigned to this host as automatic"), "{}", runs[0].reason);

    assign(&fixture, 1, true).await;
    for _ in 0..3 {
        look(&fixture.ctx).await.unwrap();
    }
    let runs = all_runs(&fixture).await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].state, runs[0].origin), (RunState::Approved, Origin::Automatic));
    assert_eq!(runs[0].decided_by.as_deref(), Some(runs::BY_POLICY));
    assert_eq!(fixture.audited().await, ["run.propose", "assignment.set", "run.approve"]);
}

#[tokio::test]
async fn with_the_flag_it_is_approved_at_once_unless_something_is_missing() {
    type Change = fn(&mut sysop_common::wire::Inventory);
    let without: [(&str, Change); 4] = [
        ("allows it, but not without a person", |i| *i = inventory(false)),
        ("does not allow it", |i| i.grants.allow.clear()),
        ("does not know this version", |i| i.catalogue.clear()),
        ("", |_| {}),
    ];
    for (why, change) in without {
        let fixture = Fixture::new(1).await;
        let mut inventory = inventory(true);
        change(&mut inventory);
        testing::inventory(&fixture.ctx.db, host_id(1), &inventory).await;
        assign(&fixture, 1, true).await;
        fixture.incident(1, restart("nginx.service")).await;
        look(&fixture.ctx).await.unwrap();
        let run = &all_runs(&fixture).await[0];
        let want = if why.is_empty() { RunState::Approved } else { RunState::AwaitingApproval };
        assert_eq!(run.state, want, "{why}: {}", run.reason);
        assert!(run.reason.contains(why), "{}", run.reason);
    }
}

#[tokio::test]
async fn kill_switch_maintenance_stale_samples_and_label_assignments_are_heeded() {
    let fixture = Fixture::new(1).await;
    let label = Selector::Label { name: "role".into(), value: "web".into() };
    set_assignment(&fixture.ctx, &label, "restart_service", true, &ann()).await.unwrap();
    let id = fixture.incident(1, restart("nginx.service")).await;
    look(&fixture.ctx).await.unwrap();
    assert!(all_runs(&fixture).await[0].reason.contains("not assigned"));
    // A label that the agent announces selects nothing; one that an admin set does.
    for (source, waits) in [("agent", "not assigned"), ("admin", "automation is off")] {
        set_automation(&fixture.ctx, false, &bob()).await.unwrap();
        testing::label(&fixture.ctx.db, host_id(1), "role", "web", source).await;
        look(&fixture.ctx).await.unwrap();
        let reason = all_runs(&fixture).await[0].reason.clone();
        assert!(reason.contains(waits), "{source}: {reason}");
    }
    assert!(matches!(set_automation(&fixture.ctx, true, &bob()).await, Err(DecideError::Forbidden)));
    set_automation(&fixture.ctx, true, &ann()).await.unwrap();
    let until = NOW.plus(60 * MINUTE_MS);
    let window = set_maintenance(&fixture.ctx, None, (NOW, until), "upgrade", &bob()).await.unwrap();
    look(&fixture.ctx).await.unwrap();
    assert!(all_runs(&fixture).await[0].reason.contains("a maintenance window holds: upgrade"));
    // The host carries this label as its own, the window asks for an admin's.
    let labelled = |value: &str| Some(Selector::Label { name: "role".into(), value: value.into() });
    for (value, holds) in [("web", true), ("db", false)] {
        let of = set_maintenance(&fixture.ctx, labelled(value), (NOW, until), "", &bob()).await.unwrap();
        let windows = crate::store::maintenance::list(&fixture.ctx.db, NOW).await.unwrap();
        let read = windows.iter().find(|window| window.id == of.id).unwrap();
        assert_eq!((read.covers(host_id(1)), read.covers(host_id(9))), (holds, false), "{value}");
        end_maintenance(&fixture.ctx, &of.id, &bob()).await.unwrap();
    }
    fixture.ctx.clock.advance(5 * MINUTE_MS);
    end_maintenance(&fixture.ctx, &window.id, &bob()).await.unwrap();
    look(&fixture.ctx).await.unwrap();
    assert!(all_runs(&fixture).await[0].reason.contains("no fresh sample"));
    let now = fixture.ctx.clock.now();
    fixture.change(id, |incident| incident.last_true = now).await;
    look(&fixture.ctx).await.unwrap();
    assert_eq!(all_runs(&fixture).await[0].state, RunState::Approved);
}

#[tokio::test]
async fn two_approvals_at_once_settle_once_and_a_viewer_settles_nothing() {
    let fixture = Fixture::new(1).await;
    fixture.incident(1, restart("nginx.service")).await;
    look(&fixture.ctx).await.unwrap();
    let id = all_runs(&fixture).await[0].id;
    let viewer = Person::user("vic", Role::Viewer);
    assert!(matches!(approve(&fixture.ctx, id, &viewer).await, Err(DecideError::Forbidden)));
    let (first, second) = (ann(), bob());
    let (a, b) = tokio::join!(approve(&fixture.ctx, id, &first), reject(&fixture.ctx, id, &second, "no"));
    assert!(a.is_ok() != b.is_ok());
    let failed = a.err().or(b.err()).unwrap();
    assert_eq!(failed.status(), 409, "{failed}");
    let decided =
        fixture.audited().await.into_iter().filter(|a| a == "run.approve" || a == "run.reject").count();
    assert_eq!(decided, 1);
}

#[tokio::test]
async fn what_a_person_rejects_is_not_proposed_again_and_what_is_over_is_withdrawn() {
    let fixture = Fixture::new(2).await;
    fixture.incident(1, restart("nginx.service")).await;
    let second = fixture.incident(2, restart("nginx.service")).await;
    look(&fixture.ctx).await.unwrap();
    let of = |runs: Vec<Run>, host| runs.into_iter().find(|run| run.host == host_id(host)).unwrap();
    let first_run = of(all_runs(&fixture).await, 1);
    reject(&fixture.ctx, first_run.id, &bob(), "leave it").await.unwrap();
    fixture.change(second, |incident| incident.closed_at = Some(NOW)).await;
    look(&fixture.ctx).await.unwrap();
    let runs = all_runs(&fixture).await;
    assert_eq!(runs.len(), 2);
    assert_eq!(of(runs.clone(), 1).state, RunState::Rejected);
    let withdrawn = of(runs, 2);
    assert_eq!((withdrawn.state, withdrawn.detail.as_str()), (RunState::Cancelled, "the trouble is gone"));
    // It came back: what policy withdrew may be proposed again.
    fixture.change(second, |incident| incident.closed_at = None).await;
    look(&fixture.ctx).await.unwrap();
    assert_eq!(of(all_runs(&fixture).await, 2).attempt, 2);
}

#[tokio::test]
async fn high_risk_stays_in_the_inbox_with_the_reason_and_never_runs_by_itself() {
    let fixture = Fixture::new(1).await;
    assign(&fixture, 1, true).await;
    let id = fixture.incident(1, restart("nginx.service")).await;
    fixture.change(id, |incident| with_risk(incident, Risk::High)).await;
    look(&fixture.ctx).await.unwrap();
    let run = all_runs(&fixture).await[0].clone();
    assert_eq!((run.state, run.risk), (RunState::AwaitingApproval, Risk::High));
    let denied = approve(&fixture.ctx, run.id, &bob()).await.unwrap_err();
    assert!(matches!(denied, DecideError::Denied(Denied::NeedsSignature)), "{denied}");
    let run = all_runs(&fixture).await[0].clone();
    assert_eq!(run.state, RunState::AwaitingApproval);
    assert!(run.detail.contains("approver's signature"));

    let own = Start {
        host: host_id(1),
        action: restart("ssh.service"),
        incident: None,
        reason: String::new(),
        key: None,
    };
    let run = start_run(&fixture.ctx, &own, &bob()).await.unwrap();
    assert_eq!((run.state, run.risk), (RunState::AwaitingApproval, Risk::High));
    // Also through a token that bob made.
    for bob in [bob(), Person::token("ci", "bob", Role::Admin)] {
        let denied = approve(&fixture.ctx, run.id, &bob).await.unwrap_err();
        assert!(matches!(denied, DecideError::Denied(Denied::OwnProposal)), "{denied}");
    }
}

#[tokio::test]
async fn a_run_by_hand_is_its_own_approval_once_per_key() {
    let fixture = Fixture::new(1).await;
    let start = |unit: &str, key: &str| Start {
        host: host_id(1),
        action: restart(unit),
        incident: None,
        reason: "deploy\u{7}".into(),
        key: Some(key.into()),
    };
    let (ctx, bob) = (&fixture.ctx, bob());
    let run = start_run(ctx, &start("nginx.service", "k1"), &bob).await.unwrap();
    assert_eq!((run.state, run.origin, run.reason.as_str()), (RunState::Approved, Origin::Person, "deploy"));
    assert_eq!(start_run(ctx, &start("nginx.service", "k1"), &bob).await.unwrap().id, run.id);
    let other = start_run(ctx, &start("php.service", "k1"), &bob).await.unwrap_err();
    assert_eq!(other.status(), 409);
    // The same key of someone else is another key, but the same intent is open.
    let twice = start_run(ctx, &start("nginx.service", "k1"), &ann()).await.unwrap_err();
    assert!(twice.to_string().contains(&run.id.to_string()), "{twice}");
    let unknown = Start { host: host_id(9), ..start("nginx.service", "k2") };
    assert_eq!(start_run(ctx, &unknown, &bob).await.unwrap_err().status(), 404);
    let viewer = Person::user("vic", Role::Viewer);
    assert_eq!(start_run(ctx, &start("a.service", "k3"), &viewer).await.unwrap_err().status(), 403);

    assert_eq!(cancel_run(ctx, run.id, &bob).await.unwrap().state, RunState::Cancelled);
    assert_eq!(cancel_run(ctx, run.id, &bob).await.unwrap_err().status(), 409);
    assert!(start_run(ctx, &start("nginx.service", "k4"), &bob).await.is_ok());
    assert_eq!(fixture.audited().await, ["run.start", "run.cancel", "run.start"]);
}

#[tokio::test]
async fn a_failed_repair_is_not_repeated_but_goes_to_a_person() {
    let fixture = Fixture::new(1).await;
    assign(&fixture, 1, true).await;
    let id = fixture.incident(1, restart("nginx.service")).await;
    for attempt in 1..=2 {
        look(&fixture.ctx).await.unwrap();
        let run = all_runs(&fixture).await[0].clone();
        let want = if attempt == 1 { RunState::Approved } else { RunState::AwaitingApproval };
        assert_eq!((run.attempt, run.state), (attempt, want), "{}", run.reason);
        let mut failed = run.clone();
        failed.state = RunState::Failed;
        let mut tx = fixture.ctx.db.begin().await.unwrap();
        run_states::move_on(&mut tx, &failed, run.state).await.unwrap();
        tx.commit().await.unwrap();
        let now = fixture.ctx.clock.now();
        fixture.change(id, |incident| incident.last_true = now).await;
    }
    look(&fixture.ctx).await.unwrap();
    assert_eq!(all_runs(&fixture).await.len(), 2);
}

#[tokio::test]
async fn bad_settings_are_refused_with_the_remedy() {
    let fixture = Fixture::new(1).await;
    let ctx = &fixture.ctx;
    let host = Selector::Host(host_id(1));
    let own = Selector::Label { name: "host.os".into(), value: "debian".into() };
    for (selector, action, status) in [
        (&host, "run_shell", 422),
        (&own, "restart_service", 422),
        (&Selector::Host(host_id(5)), "restart_service", 404),
    ] {
        let error = set_assignment(ctx, selector, action, true, &ann()).await.unwrap_err();
        assert_eq!(error.status(), status, "{error}");
    }
    assert_eq!(set_assignment(ctx, &host, "restart_service", true, &bob()).await.unwrap_err().status(), 403);
    let backwards = set_maintenance(ctx, None, (NOW.plus(5), NOW), "", &ann()).await;
    assert_eq!(backwards.unwrap_err().status(), 422);
    for (hours, good) in
        [("8-18", true), ("22-6", true), ("", true), ("8", false), ("8-25", false), ("9-9", false)]
    {
        assert_eq!(set_busy_hours(ctx, hours, &ann()).await.is_ok(), good, "{hours}");
    }
    // Setting it twice keeps one row.
    let first = set_assignment(ctx, &host, "restart_service", false, &ann()).await.unwrap();
    let second = set_assignment(ctx, &host, "restart_service", true, &ann()).await.unwrap();
    assert_eq!(first.id, second.id);
    remove_assignment(ctx, &first.id, &ann()).await.unwrap();
    assert_eq!(remove_assignment(ctx, &first.id, &ann()).await.unwrap_err().status(), 404);
}
