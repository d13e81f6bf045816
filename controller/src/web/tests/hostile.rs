//! What hosts and strangers write reaches no page as markup: a corpus through every string.

use std::sync::Arc;

use sysop_common::action::RunState;
use sysop_common::ids::{Epoch, Seq};
use sysop_common::metric;
use sysop_common::sample::{Active, Column, Process, Schema, Tick, Unit};

use super::*;
use crate::decide::{self, Start, fixture};
use crate::store::samples::{Batch, Boot, Incoming, NamedSchema, Stored};
use crate::store::{incidents, outputs, run_states, runs, testing};

/// Each would do something somewhere if it were not escaped.
const CORPUS: [&str; 10] = [
    "<script>xss()</script>",
    "\"><img src=x onerror=xss()>",
    "'><svg/onload=xss()>",
    "\" onmouseover=\"xss()\" x=\"",
    "</textarea><script>xss()</script>",
    "</title><script>xss()</script>",
    "<!--<script>xss()//-->",
    "]]><script>xss()</script>",
    "&lt;script&gt;&#x3C;img src=x onerror=xss()&#x3E;\"",
    "\u{202e}<b>\u{0}\u{1b}[31m</b>",
];

struct Planted {
    web: Web,
    paths: Vec<String>,
}

async fn plant(payload: &str) -> Planted {
    let web = Web::new().await;
    let (db, host, now) = (&web.state.db, fixture::host_id(1), web.state.now());
    testing::host(db, host, payload).await;
    let mut inventory = fixture::inventory(false);
    for text in [&mut inventory.os, &mut inventory.kernel, &mut inventory.cpu_model, &mut inventory.hostname]
    {
        *text = payload.to_owned();
    }
    inventory.virtualization = payload.to_owned();
    inventory.addresses = vec![payload.to_owned()];
    inventory.agent_version = payload.to_owned();
    inventory.grants.protected = vec![payload.to_owned()];
    if let Some(allowed) = inventory.grants.allow.first_mut() {
        allowed.units.push(payload.to_owned());
    }
    testing::inventory(db, host, &inventory).await;
    testing::label(db, host, payload, payload, "agent").await;
    for at in 0..3 {
        let batch = Batch { ticks: vec![Incoming { host, stored: tick(payload, at, now) }], gaps: vec![] };
        web.state.samples.append(&batch, now).await.unwrap();
    }
    let mut found = fixture::incident(host, fixture::restart("nginx.service"), now);
    for text in [&mut found.title, &mut found.cause, &mut found.entity] {
        *text = payload.to_owned();
    }
    for finding in &mut found.findings {
        finding.title = payload.to_owned();
        finding.cause = payload.to_owned();
        finding.not_observed.push(payload.to_owned());
        for evidence in &mut finding.evidence {
            evidence.text = payload.to_owned();
            evidence.label = payload.to_owned();
        }
    }
    for offer in &mut found.offers {
        for text in [&mut offer.why, &mut offer.expect, &mut offer.not_fixed, &mut offer.pre_check] {
            *text = payload.to_owned();
        }
    }
    let mut tx = db.begin().await.unwrap();
    let incident = incidents::insert(&mut tx, &found).await.unwrap();
    tx.commit().await.unwrap();
    decide::look(&web.state.decide()).await.unwrap();
    let run = run(&web, host, payload).await;
    web.sign_in(payload, "wrong wrong wrong").await;
    let asked = serde_urlencoded::to_string([("q", payload)]).unwrap();
    let waiting = runs::list(db, runs::RunFilter { limit: 9, ..Default::default() }).await.unwrap();
    let mut paths: Vec<String> = [
        "/",
        "/hosts",
        "/hosts?view=cards",
        "/incidents",
        "/incidents?show=all",
        "/approvals",
        "/runs",
        "/audit",
        "/hosts/new",
    ]
    .map(str::to_owned)
    .into();
    paths.extend([
        format!("/hosts?{asked}"),
        format!("/audit?{asked}"),
        format!("/hosts?{}", serde_urlencoded::to_string([("label", payload)]).unwrap()),
        format!("/hosts/{host}"),
        format!("/hosts/{host}/processes"),
        format!("/hosts/{host}/series?metric=fs.used_ratio,load.1&range=15m"),
        format!("/incidents/{incident}"),
        format!("/runs/{run}"),
        format!("/runs/new?host={host}"),
        format!(
            "/runs/new?{}",
            serde_urlencoded::to_string([
                ("host", host.to_string().as_str()),
                ("action", "restart_service"),
                ("unit", payload)
            ])
            .unwrap()
        ),
        format!("/login?{}", serde_urlencoded::to_string([("next", payload)]).unwrap()),
        format!("/nowhere/{}", serde_urlencoded::to_string([("x", payload)]).unwrap()),
    ]);
    paths.extend(waiting.iter().map(|run| format!("/approvals/{}", run.id)));
    Planted { web, paths }
}

/// A run with everything that a host and a person can write into one.
async fn run(web: &Web, host: HostId, payload: &str) -> sysop_common::ids::OrderId {
    let start = Start {
        host,
        action: fixture::restart("cron.service"),
        incident: None,
        reason: payload.to_owned(),
        key: None,
    };
    let run = decide::start_run(&web.state.decide(), &start, &fixture::ann()).await.unwrap();
    let mut tx = web.state.db.begin().await.unwrap();
    let mut next = run.clone();
    next.state = RunState::Failed;
    next.detail = payload.to_owned();
    next.refusal = Some(payload.to_owned());
    next.exit = Some(1);
    run_states::move_on(&mut tx, &next, run.state).await.unwrap();
    let detail = serde_json::json!({ "detail": payload, "why": payload, "by": payload });
    run_states::record(&mut tx, run.id, payload, &detail, web.state.now()).await.unwrap();
    outputs::append(&mut tx, run.id, 0, payload.as_bytes(), 1 << 16).await.unwrap();
    tx.commit().await.unwrap();
    run.id
}

fn tick(payload: &str, at: i64, now: UnixMs) -> Arc<Stored> {
    let columns =
        [metric::FS_TOTAL, metric::FS_FREE, metric::FS_AVAILABLE].map(|id| Column::new(id, payload).unwrap());
    let schema = NamedSchema::new(Schema { columns: columns.into() });
    let time = now.plus((at - 2) * 10_000);
    let process = Process {
        pid: 7,
        start_ticks: 1,
        comm: payload.into(),
        user: payload.into(),
        unit: payload.into(),
        args: payload.into(),
        cpu_ms: at as u64 * 1000,
        ..Process::default()
    };
    let unit = Unit {
        name: payload.into(),
        active: Active::Failed,
        sub: payload.into(),
        result: payload.into(),
        ..Unit::default()
    };
    let tick = Tick {
        seq: Seq(at as u64 + 1),
        at: time,
        values: vec![100, 1, 1],
        processes: vec![process],
        units: vec![unit],
    };
    Arc::new(Stored {
        tick: Arc::new(tick),
        schema,
        epoch: Epoch(1),
        boot: Boot(1),
        at: time,
        received_at: time,
    })
}

/// The raw payload is nowhere, nor is the part of it that does harm.
fn is_inert(text: &str, payload: &str) -> bool {
    let harmful =
        ["<script>xss", "<img src=x", "<svg/onload", "onmouseover=\"xss", "<!--<script", "<b>\u{0}"];
    !text.contains(payload) && harmful.iter().all(|part| !text.contains(part))
}

#[tokio::test]
async fn injection_corpus_through_every_agent_string() {
    let mut drawn = 0;
    for payload in CORPUS {
        let Planted { web, paths } = plant(payload).await;
        let session = web.session("admin").await;
        for path in &paths {
            for partial in [false, true] {
                let ask = get(path).cookie(&session.cookie);
                let ask = if partial { ask.header("hx-request", "true") } else { ask };
                let answer = web.send(ask).await;
                assert!(!answer.status.is_server_error(), "{path}: {}", answer.text());
                assert!(is_inert(&answer.text(), payload), "{path} with {payload:?}: {}", answer.text());
                drawn += 1;
            }
        }
        let found = web.send(get(&format!("/hosts/{}", fixture::host_id(1))).cookie(&session.cookie)).await;
        assert!(
            found.text().contains("xss()") || payload.contains('\u{202e}'),
            "the host's page does not show it"
        );
        let api = web.send(get("/api/v1/hosts").by(&session)).await;
        assert_eq!(api.header("content-type"), "application/json");
        assert_eq!(api.json()["items"][0]["name"], payload);
        assert_eq!(api.header("x-content-type-options"), "nosniff");
    }
    assert!(drawn > 400, "{drawn}");
}
