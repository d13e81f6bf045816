//! Audit, adding a host, the door, errors.

use sysop_common::action::Risk;
use sysop_common::probe::ProbeState;

use super::super::add_host::{self, AddHostView, Arrived, EnrolLine, Power, WaitView};
use super::super::audit::{self, Actor, AuditRow, AuditView, ChainCheck};
use super::super::errors;
use super::super::login::{self, LoginView};
use super::super::probes::edit::{self, EditView};
use super::super::probes::one::{self, ProbeView, RunnerView};
use super::super::probes::{self, ProbeRow, ProbesView};
use super::super::setup::{self, SetupView};
use super::super::shared::HostRef;
use super::{Ctx, DAY, MINUTE, NOW, Page, ctx, wave};
use crate::web::widgets::State;
use crate::web::widgets::list::Paging;
use crate::web::widgets::note::Toast;

pub(super) fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let probe = ctx("/probes");
    let (chain, add, lost) = (ctx("/audit"), ctx("/hosts/new"), ctx("/nowhere"));
    let out = Ctx { user: None, path: "/login".into(), csrf: "9f2c".into(), now_ms: NOW, ..Ctx::default() };
    let broken = AuditView { check: Some(ChainCheck { broken: Some(184_107), ..check() }), ..records() };
    let told = Ctx { flash: toasts(), ..chain.clone() };
    let wrong = LoginView {
        username: "operator".into(),
        error: Some("Wrong user name or password. 4 tries left, then 15 minutes pause.".into()),
        controller: "ops.example.net".into(),
        ..LoginView::default()
    };
    let first = SetupView {
        controller: "ops.example.net".into(),
        ca_fingerprint: "sha256:9f3a 61c0 7be4 e21c".into(),
        ..SetupView::default()
    };
    vec![
        ("audit", chain.clone(), audit::page(&chain, &records())),
        ("audit-broken", told.clone(), audit::page(&told, &broken)),
        ("add-host", add.clone(), add_host::page(&add, &choosing())),
        ("add-host-wait", add.clone(), add_host::page(&add, &enrolling(WaitView::default()))),
        ("add-host-done", add.clone(), add_host::page(&add, &enrolling(arrived()))),
        ("probes", probe.clone(), probes::page(&probe, &ProbesView { rows: rows() })),
        ("probes-none", probe.clone(), probes::page(&probe, &ProbesView::default())),
        ("probe", probe.clone(), one::page(&probe, &asked())),
        ("probe-form", probe.clone(), edit::page(&probe, &EditView::default())),
        ("setup", out.clone(), setup::page(&out, &first)),
        ("login", out.clone(), login::page(&out, &wrong)),
        ("error-404", lost.clone(), errors::not_found(&lost)),
        ("error-403", lost.clone(), errors::forbidden(&lost, "Operator")),
        ("error-500", lost.clone(), errors::internal(&lost, "7F3A-19C2")),
        ("error-stale", lost.clone(), errors::stale_form(&lost)),
        ("error-out", out.clone(), errors::slow_down(&out, 42)),
    ]
}

fn toasts() -> Vec<Toast> {
    let toast =
        |state, title: &str, detail: &str| Toast { state, title: title.into(), detail: detail.into() };
    vec![
        toast(State::Ok, "nginx.service on web-07 runs, verified", "watched for 60 s"),
        toast(State::Crit, "web-07 refused the order", "Its policy does not allow it. Nothing ran."),
    ]
}

fn check() -> ChainCheck {
    ChainCheck { at_ms: NOW - 12_000, records: 184_233, took_ms: 3_800, broken: None }
}

fn records() -> AuditView {
    let row = |seq, ago: i64, actor, who: &str, action: &str, detail: &str, state| AuditRow {
        seq,
        at_ms: NOW - ago,
        actor,
        who: who.into(),
        action: action.into(),
        detail: detail.into(),
        href: (action == "approve").then(|| "/runs/0192f7c3".into()),
        state,
        hash: format!("{:08x}c5aa17d4e1b2", seq * 2_654_435),
    };
    AuditView {
        rows: vec![
            row(
                184_233,
                21_000,
                Actor::Controller,
                "controller",
                "anchor",
                "Head signed, sent with every order",
                None,
            ),
            row(
                184_232,
                98_000,
                Actor::Rules,
                "rules",
                "propose",
                "restart_service nginx.service on web-07, medium",
                None,
            ),
            row(184_231, 110_000, Actor::Rules, "rules", "incident", "INC-1042 opened: /var over 90 %", None),
            row(
                184_230,
                162_000,
                Actor::Host,
                "web-04",
                "receipt",
                "run 0192f7 verified, exit 0",
                Some(State::Ok),
            ),
            row(
                184_229,
                180_000,
                Actor::Host,
                "db-06",
                "receipt",
                "run 0192f6 refused: not allowed",
                Some(State::Warn),
            ),
            row(
                184_228,
                34 * MINUTE,
                Actor::Person,
                "admin",
                "approve",
                "restart_service celery.service on worker-04",
                Some(State::Ok),
            ),
            row(184_227, 43 * MINUTE, Actor::Person, "operator", "login", "password, from 10.20.0.8", None),
            row(
                184_226,
                44 * MINUTE,
                Actor::Unknown,
                "unknown",
                "login",
                "wrong password for “root”, from 203.0.113.9, 4th try",
                Some(State::Warn),
            ),
        ],
        total: 184_233,
        check: Some(check()),
        head: "9f2c07d455e19f2c07d455e1".into(),
        query: Default::default(),
        paging: Paging {
            shown: "Newest 8 of 2,904 in 7 days".into(),
            newer: None,
            older: Some("/audit?after=184226".into()),
        },
        may_verify: true,
    }
}

fn choosing() -> AddHostView {
    let power = |class: &str, words: &str, detail: &str, risk, chosen| Power {
        class: class.into(),
        words: words.into(),
        detail: detail.into(),
        risk,
        chosen,
    };
    AddHostView {
        powers: vec![
            power(
                "units",
                "Restart and start services",
                "Not those you list as protected. ssh, the network and the agent itself are always protected.",
                Risk::Medium,
                true,
            ),
            power("stop", "Stop services", "The same limits.", Risk::Medium, false),
            power(
                "temp",
                "Clean up temporary files",
                "Only below /tmp and /var/tmp, only files not modified for a day.",
                Risk::Low,
                false,
            ),
            power(
                "kill",
                "Kill processes",
                "By pid and start time, never those of root, ssh or the agent.",
                Risk::Medium,
                false,
            ),
        ],
        labels: "role=web site=fra-1".into(),
        labels_error: None,
        line: None,
    }
}

fn enrolling(wait: WaitView) -> AddHostView {
    let command = "echo K7QF2M9XTD4H | sudo sysop-agent enroll \\\n  --controller ops.example.net:8443 --token-stdin \\\n  --ca-fingerprint sha256:9f3a61c07be4e21c9f3a61c07be4e21c9f3a61c07be4e21c9f3a61c07be4e21c \\\n  --allow units";
    let line = EnrolLine {
        token_id: "t1".into(),
        command: command.into(),
        expires_ms: NOW + 14 * MINUTE,
        controller: "ops.example.net:8443".into(),
        wait,
    };
    AddHostView { line: Some(line), ..choosing() }
}

fn arrived() -> WaitView {
    let facts = ["Debian 12.9", "4 CPUs", "8 GiB", "58 units"].map(str::to_owned).to_vec();
    let host = HostRef { id: "web19".into(), name: "web-19".into() };
    WaitView {
        enrolled_ms: Some(NOW - 9_000),
        certificate_until_ms: Some(NOW + 30 * DAY),
        first_sample_ms: Some(NOW - 1_000),
        host: Some(Arrived { host, facts, measures: Some((0.12, 0.34, 0.22)) }),
        expired: false,
    }
}

/// Probes as a host's page shows them.
pub(super) fn probes() -> Vec<ProbeRow> {
    rows()
}

fn rows() -> Vec<ProbeRow> {
    let up = ProbeRow {
        id: 2,
        name: "Shop front".into(),
        asks: "http https://shop.example.net/health".into(),
        runner: "the controller".into(),
        state: Some(ProbeState::Up),
        enabled: true,
        says: "it answers".into(),
        at_ms: Some(NOW - 20_000),
        took_ms: Some(41.0),
        line: wave(96, 0.4, 0.3, 7).into_iter().map(|point| point.map(|value| value * 100.0)).collect(),
        uptime: Some(0.99_97),
        ..ProbeRow::default()
    };
    let down = ProbeRow {
        id: 1,
        name: "Orders database".into(),
        asks: "tcp db-1:5432".into(),
        runner: "web-07".into(),
        state: Some(ProbeState::Down),
        failing: true,
        says: "the connection is refused: nothing listens there".into(),
        took_ms: None,
        ..up.clone()
    };
    let refused = ProbeRow {
        id: 3,
        name: "Payments".into(),
        state: Some(ProbeState::Refused),
        says: "refused by the host's policy".into(),
        line: Vec::new(),
        uptime: None,
        ..up.clone()
    };
    let fresh = ProbeRow {
        id: 4,
        name: "New".into(),
        state: None,
        says: String::new(),
        at_ms: None,
        ..refused.clone()
    };
    vec![down, up, refused, fresh]
}

fn asked() -> ProbeView {
    let runner = |row: ProbeRow| RunnerView {
        policy: (row.state == Some(ProbeState::Refused))
            .then(|| "[probes]\nallow = [\"pay.example.net:443\"]".into()),
        why: vec!["It is not told of: 1 of 3 failures in a row that would.".into()],
        results: vec![(NOW - MINUTE, ProbeState::Up, "it answers".into(), Some(3.2))],
        row,
    };
    ProbeView {
        id: 1,
        name: "Orders database".into(),
        facts: vec![("Kind", "tcp".into()), ("Target", "db-1:5432".into())],
        may_try: true,
        runners: rows().into_iter().map(runner).collect(),
    }
}
