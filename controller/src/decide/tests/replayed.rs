//! What the audit log holds of a decision is enough to make it once more.

use serde_json::Value;
use sysop_common::finding::Offer;

use super::*;
use crate::store::incidents::Incident;
use crate::store::maintenance;

/// What keeps the run from running by itself, from the record alone.
fn again(detail: &Value) -> Vec<String> {
    let text = |field: &str| detail[field].as_str();
    let count = |field: &str| detail["spent"][field].as_u64().unwrap().try_into().unwrap();
    let offer: Offer = serde_json::from_value(detail["offer"].clone()).unwrap();
    let grants: Grants = serde_json::from_value(detail["grants"].clone()).unwrap();
    let assignments: Vec<bool> = serde_json::from_value(detail["assignments"].clone()).unwrap();
    let spent = Spent {
        incident: count("incident"),
        host: count("host"),
        other_hosts: count("other_hosts"),
        counted: detail["spent"]["counted"].as_bool().unwrap(),
        fleet: count("fleet"),
    };
    let risk = serde_json::from_value(detail["risk"].clone()).unwrap();
    let highest = detail["factors"].as_array().unwrap().iter();
    let highest = highest.map(|factor| serde_json::from_value::<Risk>(factor["risk"].clone()).unwrap()).max();
    assert_eq!(highest, Some(risk), "the risk follows from its factors");
    let inputs = Inputs {
        action: &offer.action,
        risk,
        automation: detail["automation"].as_bool().unwrap(),
        maintenance: text("maintenance"),
        assignments: &assignments,
        source: offer.source,
        unattended: offer.unattended,
        fresh: detail["fresh"].as_bool().unwrap(),
        grants: &grants,
        process_user: text("process_user"),
        known: detail["known"].as_bool().unwrap(),
        failed_before: detail["failed_before"].as_bool().unwrap(),
        doubt: text("doubt"),
        spent: &spent,
    };
    waits(&inputs).iter().map(ToString::to_string).collect()
}

/// Something that can be otherwise, on a host whose incident is number `1`.
async fn vary(fixture: &Fixture, which: usize, incident: i64) {
    let ctx = &fixture.ctx;
    let changed = |change: fn(&mut Incident)| fixture.change(incident, change);
    match which {
        1 => set_automation(ctx, false, &bob()).await.unwrap(),
        2 => drop(set_maintenance(ctx, None, (NOW, NOW.plus(60_000)), "upgrade", &bob()).await.unwrap()),
        3 => changed(|incident| incident.offers[0].source = OfferSource::Model).await,
        4 => changed(|incident| incident.offers[0].unattended = false).await,
        5 => changed(|incident| with_risk(incident, Risk::High)).await,
        6 => ctx.clock.advance(10 * MINUTE_MS),
        7 => testing::inventory(&ctx.db, host_id(1), &inventory(false)).await,
        8 => {
            let mut other = inventory(true);
            other.grants.protected.push("nginx*".into());
            testing::inventory(&ctx.db, host_id(1), &other).await;
        }
        9 => {
            let mut other = inventory(true);
            other.catalogue.clear();
            testing::inventory(&ctx.db, host_id(1), &other).await;
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_decision_can_be_replayed_from_the_audit_log_alone() {
    let (mut alone, mut waiting) = (0, 0);
    for which in 0..=10 {
        let fixture = Fixture::new(1).await;
        assign(&fixture, 1, which != 10).await;
        let id = fixture.incident(1, restart("nginx.service")).await;
        vary(&fixture, which, id).await;
        look(&fixture.ctx).await.unwrap();
        assert_eq!(maintenance::list(&fixture.ctx.db, NOW).await.unwrap().len(), usize::from(which == 2));
        let mut conn = fixture.ctx.db.reader().await.unwrap();
        let chain = fixture.ctx.audit.controller();
        let records = crate::store::audit::after(&mut conn, chain, 0, 1_000).await.unwrap();
        let decided: Vec<_> = records
            .iter()
            .filter(|record| matches!(&*record.action, "run.propose" | "run.approve"))
            .collect();
        assert_eq!(decided.len(), 1, "{which}");
        let detail: Value = serde_json::from_str(&decided[0].detail).unwrap();
        let told: Vec<String> = serde_json::from_value(detail["waits"].clone()).unwrap();
        assert_eq!(again(&detail), told, "{which}: {detail:#}");
        assert_eq!(told.is_empty(), decided[0].action == "run.approve", "{which}: {told:?}");
        assert_eq!(told.is_empty(), which == 0, "{which}: {told:?}");
        *(if told.is_empty() { &mut alone } else { &mut waiting }) += 1;
    }
    assert_eq!((alone, waiting), (1, 10));
}
