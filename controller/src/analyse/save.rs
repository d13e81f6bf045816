//! Writes what follows from a look, with its audit records, in one transaction.

use serde_json::json;
use sysop_common::action::RunState;
use sysop_common::finding::Finding;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::correlate::Group;
use super::incident::{Change, REOPEN_MS, Stand, reconcile};
use super::{Ctx, seam};
use crate::audit::Record;
use crate::store::incidents::{self, Incident};
use crate::store::{Conn, StoreError, runs};

/// What a look found, for one host or for the fleet.
pub(super) struct Found<'a> {
    pub(super) host: Option<HostId>,
    pub(super) groups: Vec<Group>,
    pub(super) looked: UnixMs,
    pub(super) observes: &'a (dyn Fn(&Finding) -> bool + Sync),
    /// Categories that this look is about: incidents of others are left alone.
    pub(super) about: &'a (dyn Fn(&Incident) -> bool + Sync),
}

/// Reconciles what was found with the store: looks first, and again inside the transaction that writes.
pub(super) async fn save(ctx: &Ctx, found: &Found<'_>) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    if changes(ctx, &mut *ctx.db.reader().await?, found, now).await?.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.db.begin().await?;
    let mut news = false;
    for change in changes(ctx, &mut tx, found, now).await? {
        news |= !matches!(change, Change::Update(_, false));
        match write(ctx, &mut tx, &change).await {
            // Another incident holds this fingerprint: the next look puts them together.
            Err(StoreError::Conflict(why)) => tracing::warn!(why, "an incident was not written"),
            done => done?,
        }
    }
    tx.commit().await?;
    if news {
        ctx.wakes.incidents.wake();
    }
    Ok(())
}

async fn changes(
    ctx: &Ctx,
    conn: &mut Conn,
    found: &Found<'_>,
    now: UnixMs,
) -> Result<Vec<Change>, StoreError> {
    let mut known = incidents::current(&mut *conn, found.host, now.plus(-REOPEN_MS)).await?;
    known.retain(|incident| (found.about)(incident));
    let mut repaired = Vec::new();
    for incident in known.iter().filter(|incident| incident.closed_at.is_none()) {
        let runs = runs::of_incident(&mut *conn, incident.id).await?;
        let verified =
            runs.iter().filter(|run| run.state == RunState::Verified).map(|run| run.updated_at).max();
        repaired.extend(verified.map(|at| (incident.id, at)));
    }
    let stand =
        Stand { host: found.host, now, looked: found.looked, observes: found.observes, repaired: &repaired };
    let mut groups = found.groups.clone();
    if let Some(adviser) = &ctx.adviser {
        for group in &mut groups {
            let about = known
                .iter()
                .find(|i| i.closed_at.is_none() && i.fingerprint == group.findings[0].fingerprint());
            if let Some(incident) = about {
                // What is offered now, which may be numbered otherwise than what is stored.
                let about = Incident { offers: group.offers.clone(), ..incident.clone() };
                seam::apply(&mut group.offers, &adviser.advice(&about));
            }
        }
    }
    Ok(reconcile(&groups, &known, &stand))
}

/// Writes one change and, where people should see it, its audit record.
pub(super) async fn write(ctx: &Ctx, conn: &mut Conn, change: &Change) -> Result<(), StoreError> {
    let (id, action) = match change {
        Change::Open(incident) => (incidents::insert(&mut *conn, incident).await?, "incident.open"),
        Change::Reopen(incident) => {
            incidents::update(&mut *conn, incident).await?;
            (incident.id, "incident.reopen")
        }
        Change::Close(incident) => {
            incidents::update(&mut *conn, incident).await?;
            (incident.id, "incident.close")
        }
        Change::Update(incident, news) => {
            incidents::update(&mut *conn, incident).await?;
            if !news {
                return Ok(());
            }
            (incident.id, "incident.update")
        }
    };
    let incident = change.incident();
    let findings: Vec<_> = incident
        .findings
        .iter()
        .map(|f| json!({ "finding": f.fingerprint(), "active": f.active, "caused_by": f.caused_by }))
        .collect();
    let offers: Vec<_> =
        incident.offers.iter().map(|o| json!({ "id": o.id, "action": o.action, "risk": o.risk })).collect();
    let detail = json!({ "host": incident.host, "title": incident.title, "severity": incident.severity,
        "findings": findings, "offers": offers, "why": incident.close_why });
    let record = Record::new("analyser", action, format!("incident:{id}"), detail);
    ctx.audit.append(conn, &record).await?;
    Ok(())
}
