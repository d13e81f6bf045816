//! The pages over a store with a host, its samples, an incident and a run that waits.

use std::sync::Arc;

use sysop_common::ids::{Epoch, Seq};
use sysop_common::metric;
use sysop_common::sample::{Active, Column, Process, Schema, Tick, Unit};

use super::*;
use crate::decide::fixture::{host_id, incident, inventory, restart};
use crate::decide::{self};
use crate::store::samples::{Batch, Boot, Incoming, NamedSchema, Stored};
use crate::store::{incidents, runs, testing};

const HOST: u128 = 1;

/// The host has a name that would be markup if it were not escaped.
const NAME: &str = "web-07<i>";

impl Web {
    /// A host with samples of two minutes, a failed unit, an open incident and its waiting proposal.
    pub(super) async fn with_trouble() -> (Self, i64, String) {
        let web = Self::new().await;
        let (db, host) = (&web.state.db, host_id(HOST));
        testing::host(db, host, NAME).await;
        let mut inventory = inventory(false);
        inventory.os = "Debian 12.9".into();
        inventory.cores = 4;
        inventory.memory_bytes = 8 << 30;
        testing::inventory(db, host, &inventory).await;
        testing::label(db, host, "role", "web", "admin").await;
        let schema = schema();
        for at in 0..12 {
            let stored = stored(&schema, at, web.state.now());
            let batch = Batch { ticks: vec![Incoming { host, stored }], gaps: Vec::new() };
            web.state.samples.append(&batch, web.state.now()).await.unwrap();
        }
        let mut tx = db.begin().await.unwrap();
        let id = incidents::insert(&mut tx, &incident(host, restart("nginx.service"), web.state.now()))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        decide::look(&web.state.decide()).await.unwrap();
        let waiting = runs::list(db, runs::RunFilter { limit: 5, ..Default::default() }).await.unwrap();
        let run = waiting[0].id.to_string();
        (web, id, run)
    }

    pub(super) async fn page(&self, path: &str, session: &Session) -> String {
        let answer = self.send(get(path).cookie(&session.cookie)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.text()
    }
}

fn schema() -> Arc<NamedSchema> {
    let column = |metric: sysop_common::metric::MetricId, label: &str| {
        let known = metric::by_id(metric).unwrap();
        Column { metric, label: label.to_owned(), unit: known.unit, kind: known.kind, scale: known.scale }
    };
    let host = [
        metric::CPU_USER,
        metric::CPU_NICE,
        metric::CPU_SYSTEM,
        metric::CPU_IDLE,
        metric::CPU_IOWAIT,
        metric::CPU_IRQ,
        metric::CPU_SOFTIRQ,
        metric::CPU_STEAL,
        metric::MEMORY_TOTAL,
        metric::MEMORY_AVAILABLE,
        metric::PROCS_TOTAL,
        metric::HOST_UPTIME,
    ];
    let mut columns: Vec<Column> = host.into_iter().map(|metric| column(metric, "")).collect();
    columns.extend(
        [metric::FS_TOTAL, metric::FS_FREE, metric::FS_AVAILABLE].map(|metric| column(metric, "/var")),
    );
    columns.sort_by(|a, b| (a.metric, &a.label).cmp(&(b.metric, &b.label)));
    NamedSchema::new(Schema { columns })
}

fn stored(schema: &Arc<NamedSchema>, at: i64, now: UnixMs) -> Arc<Stored> {
    let time = now.plus((at - 11) * 10_000);
    let values = schema.schema.columns.iter().map(|column| match column.metric {
        metric::CPU_USER => at * 10_000,
        metric::CPU_IDLE => at * 30_000,
        metric::MEMORY_TOTAL => 8 << 30,
        metric::MEMORY_AVAILABLE => 6 << 30,
        metric::PROCS_TOTAL => 141,
        metric::HOST_UPTIME => 3_600_000,
        metric::FS_TOTAL => 100 << 30,
        metric::FS_FREE | metric::FS_AVAILABLE => 2 << 30,
        _ => 0,
    });
    let process = Process {
        pid: 4242,
        start_ticks: 100,
        comm: "shop<b>".into(),
        user: "shop".into(),
        args: "/usr/bin/shop --port 80".into(),
        cpu_ms: at as u64 * 5_000,
        rss_bytes: 64 << 20,
        ..Process::default()
    };
    let unit = Unit {
        name: "nginx.service".into(),
        active: Active::Failed,
        sub: "failed".into(),
        result: "exit-code".into(),
        ..Unit::default()
    };
    let tick = Tick {
        seq: Seq(at as u64 + 1),
        at: time,
        values: values.collect(),
        processes: vec![process],
        units: vec![unit],
    };
    Arc::new(Stored {
        tick: Arc::new(tick),
        schema: Arc::clone(schema),
        epoch: Epoch(7),
        boot: Boot(9),
        at: time,
        received_at: time,
    })
}

#[tokio::test]
async fn each_page_shows_what_the_store_holds_and_escapes_it() {
    let (web, id, run) = Web::with_trouble().await;
    let session = web.session("operator").await;
    let host = host_id(HOST);
    let pages = [
        ("/".to_owned(), vec!["One decision waits for you", "nginx.service failed", "Reporting now", "25 %"]),
        ("/hosts".to_owned(), vec!["nginx.service failed", "98 %", "25 %", "/var"]),
        ("/hosts?view=cards&label=role%3Dweb".to_owned(), vec!["hcard crit"]),
        ("/hosts?label=role%3Ddb".to_owned(), vec!["No host matches"]),
        (
            format!("/hosts/{host}"),
            vec!["Debian 12.9", "4 CPUs", "exit-code", "50 %", "data-series", "141 processes"],
        ),
        (format!("/hosts/{host}?from=1&to=2000"), vec!["Back to live"]),
        (format!("/hosts/{host}/processes?sort=memory"), vec!["64 MiB"]),
        (
            format!("/hosts/{host}/series?metric=cpu.usage,fs.used_ratio&range=15m"),
            vec!["fs.used_ratio /var", "98 %"],
        ),
        ("/incidents".to_owned(), vec!["1 open incident", "waits for approval"]),
        (
            format!("/incidents/{id}"),
            vec![
                "nginx.service is failed",
                "Approve: restart nginx.service",
                "What exactly will run",
                "why it failed",
            ],
        ),
        ("/approvals".to_owned(), vec!["One waits", "RestartUnit(&quot;nginx.service&quot;", "CPU 25 %"]),
        (format!("/approvals/{run}"), vec!["proposed by rules"]),
        ("/runs".to_owned(), vec!["Restart nginx.service", "waits for approval"]),
        (format!("/runs/{run}"), vec!["What happened", "Nothing has run"]),
        (
            format!("/runs/new?host={host}&action=restart_service&unit=nginx.service"),
            vec!["Review", "on web-07"],
        ),
        ("/audit".to_owned(), vec!["Not checked in this view"]),
    ];
    for (path, wanted) in &pages {
        let text = web.page(path, &session).await;
        for words in wanted {
            assert!(text.contains(words), "{path} lacks {words:?}: {text}");
        }
        assert!(!text.contains("web-07<i>") && !text.contains("shop<b>"), "{path}");
        assert!(text.contains("id=\"nav-approvals\" class=\"cnt ask\">1<"), "{path}");
    }
    for path in [
        "/hosts/x",
        "/hosts/0190b6a5-7c1e-7c3a-9f00-000000000000",
        "/incidents/99",
        "/incidents/x",
        "/runs/x",
        "/approvals/x",
    ] {
        let answer = web.send(get(path).cookie(&session.cookie)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_approval_is_for_exactly_what_the_page_showed_and_one_click_settles_it() {
    let (web, id, run) = Web::with_trouble().await;
    let session = web.session("operator").await;
    let text = web.page(&format!("/incidents/{id}"), &session).await;
    let digest = text.split("name=\"digest\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let path = format!("/approvals/{run}");
    let post = |digest: &str| {
        form(&path, &[("csrf", &session.csrf), ("decision", "approve"), ("digest", digest)])
            .cookie(&session.cookie)
    };
    assert_eq!(web.send(post(&"0".repeat(64))).await.status, StatusCode::CONFLICT);
    let done = web.send(post(&digest)).await;
    assert_eq!(
        (done.status, done.location()),
        (StatusCode::SEE_OTHER, format!("/runs/{run}").as_str()),
        "{}",
        done.text()
    );
    let shown = web.page(&format!("/runs/{run}"), &session).await;
    assert!(shown.contains("Approved by operator") && shown.contains("Withdraw"), "{shown}");
    assert_eq!(web.send(post(&digest)).await.status, StatusCode::CONFLICT);
    let gone = web.send(get(&path).cookie(&session.cookie)).await;
    assert_eq!(gone.location(), format!("/runs/{run}"));
    assert!(web.page("/approvals", &session).await.contains("Nothing waits for you"));
    let verified = web.send(form("/audit/verify", &[("csrf", &session.csrf)]).cookie(&session.cookie)).await;
    assert!(verified.text().contains("The chain is whole"), "{}", verified.text());
    assert!(verified.text().contains("run.approve"));
}

#[tokio::test]
async fn a_viewer_sees_the_proposal_and_not_the_button() {
    let (web, id, run) = Web::with_trouble().await;
    let session = web.session("viewer").await;
    let text = web.page(&format!("/incidents/{id}"), &session).await;
    assert!(text.contains("Your role only reads") && !text.contains("value=\"approve\""));
    let answer = web
        .send(form(&format!("/approvals/{run}"), &[("csrf", &session.csrf)]).cookie(&session.cookie))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_run_by_hand_is_started_once_however_often_the_button_is_pressed() {
    let (web, ..) = Web::with_trouble().await;
    let session = web.session("operator").await;
    let host = host_id(HOST).to_string();
    let review =
        web.page(&format!("/runs/new?host={host}&action=start_service&unit=php-fpm.service"), &session).await;
    let key = review
        .split("name=\"idempotency_key\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let fields = [
        ("csrf", session.csrf.as_str()),
        ("host", &host),
        ("action", "start_service"),
        ("unit", "php-fpm.service"),
        ("idempotency_key", &key),
    ];
    let first = web.send(form("/runs", &fields).cookie(&session.cookie)).await;
    let second = web.send(form("/runs", &fields).cookie(&session.cookie)).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{}", first.text());
    assert_eq!(first.location(), second.location());
    let bad = web.page(&format!("/runs/new?host={host}&action=start_service&unit=php"), &session).await;
    assert!(bad.contains("nginx.service") && bad.contains("must be a service"), "{bad}");
}

#[tokio::test]
async fn a_line_is_shown_once_and_the_page_waits_for_its_host() {
    let web = Web::new().await;
    let session = web.session("admin").await;
    let post = |labels: &str, allow: &str| {
        form("/hosts/new", &[("csrf", &session.csrf), ("labels", labels), ("allow", allow)])
            .cookie(&session.cookie)
    };
    let slip = web.send(post("web", "restart_service")).await;
    assert_eq!(slip.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(slip.text().contains("NAME=VALUE"));
    let line = web.send(post("role=web", "restart_service")).await.text();
    assert!(line.contains("sysop-agent enroll") && line.contains("--allow restart_service"), "{line}");
    let wait = line
        .split("hx-get=\"")
        .find(|part| part.starts_with("/hosts/new/"))
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let ask = || get(&wait).cookie(&session.cookie).header("hx-request", "true");
    let waiting = web.send(ask()).await.text();
    assert!(waiting.contains("Waiting for the host") && waiting.contains("every 1s"), "{waiting}");
    web.clock.advance(16 * 60_000);
    let over = web.send(ask()).await.text();
    assert!(over.contains("The token ended unused") && !over.contains("every 1s"), "{over}");
}
