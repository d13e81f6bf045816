//! A flood of incidents, as many forged ones as somebody who owns hosts can make.

use tokio::task::JoinSet;

use super::*;
use crate::decide::fixture::incident;
use crate::store::incidents;
use crate::store::runs::RunFilter;

const HOSTS: u128 = 100;
const INCIDENTS: u128 = 1_000;

/// Claims every approved run at once; those that were let through.
async fn claimed(bench: &Bench) -> Vec<Run> {
    let filter = RunFilter { limit: 2_000, ..RunFilter::default() };
    let all = runs::list(&bench.ctx.db, filter).await.unwrap();
    let mut claims = JoinSet::new();
    for run in all.into_iter().filter(|run| run.state == RunState::Approved) {
        let ctx = bench.ctx.clone();
        claims.spawn(async move { claim(&ctx, run.id).await.ok().map(|(run, _)| run) });
    }
    assert_eq!(claims.len(), INCIDENTS as usize, "each waits to be sent");
    claims.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_and_kill_switch_hold_under_a_thousand_forged_incidents_at_once() {
    let bench = Bench::new(HOSTS).await;
    let (db, decide) = (&bench.ctx.db, &bench.fixture.ctx);
    for n in 1..=HOSTS {
        testing::label(db, host_id(n), "fleet", "all", "admin").await;
    }
    let all = Selector::Label { name: "fleet".into(), value: "all".into() };
    decide::set_assignment(decide, &all, "restart_service", true, &ann()).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    for n in 0..INCIDENTS {
        let unit = format!("u{}.service", n / HOSTS);
        let mut forged = incident(host_id(n % HOSTS + 1), restart(&unit), bench.ctx.clock.now());
        forged.findings[0].entity = unit.clone();
        forged.offers[0].finding = forged.findings[0].fingerprint();
        (forged.fingerprint, forged.entity) = (forged.findings[0].fingerprint(), unit);
        incidents::insert(&mut tx, &forged).await.unwrap();
    }
    tx.commit().await.unwrap();
    decide::look(decide).await.unwrap();

    // The switch is thrown when all of them are on their way.
    decide::set_automation(decide, false, &bob()).await.unwrap();
    assert_eq!(claimed(&bench).await, []);
    decide::look(decide).await.unwrap();
    assert!(
        runs::list(db, RunFilter { limit: 2_000, ..RunFilter::default() })
            .await
            .unwrap()
            .iter()
            .all(|run| run.state == RunState::AwaitingApproval)
    );

    decide::set_automation(decide, true, &ann()).await.unwrap();
    decide::look(decide).await.unwrap();
    let let_through = claimed(&bench).await;
    let mut of_host: std::collections::BTreeMap<HostId, usize> = Default::default();
    for run in &let_through {
        *of_host.entry(run.host).or_default() += 1;
    }
    // 5 % of 100 hosts, three times an hour each.
    assert_eq!(of_host.len(), 5, "{of_host:?}");
    assert!(of_host.values().all(|count| *count <= 3) && let_through.len() <= 15, "{of_host:?}");
    // Whatever was not sent waits for a person, and says why.
    let rest = runs::list(db, RunFilter { limit: 2_000, ..RunFilter::default() }).await.unwrap();
    let held = rest.iter().filter(|run| run.state == RunState::AwaitingApproval);
    assert_eq!(
        held.filter(|run| run.reason.contains("automatic actions ran on")).count(),
        1_000 - let_through.len()
    );
}
