//! Overview and hosts.

use sysop_common::action::{Risk, RunState};

use super::super::hosts::{self, HostRow, HostsView};
use super::super::overview::{self, Attention, HeatCell, HeatGroup, OverviewView};
use super::super::shared::{HostRef, RunLine};
use super::{Ctx, DAY, HOUR, MINUTE, NOW, Page, ctx, wave};
use crate::web::widgets::State;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;

pub(super) fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let quiet = OverviewView {
        hosts: 1,
        healthy: 1,
        reporting: 1,
        cards: vec![row(State::Ok, "this-machine", &[], "", 0.12, 0.34, ("/", 0.41), 0.01)],
        ..OverviewView::default()
    };
    let cards = HostsView { query: Query::default().set("view", "cards"), ..fleet() };
    let none =
        HostsView { total: 52, query: Query::default().with("label", "role=gpu"), ..HostsView::default() };
    let (o, h) = (ctx("/"), ctx("/hosts"));
    vec![
        ("overview", o.clone(), overview::page(&o, &overview())),
        ("overview-quiet", o.clone(), overview::page(&o, &quiet)),
        ("overview-empty", o.clone(), overview::page(&o, &OverviewView::default())),
        ("hosts", h.clone(), hosts::page(&h, &fleet())),
        ("hosts-cards", h.clone(), hosts::page(&h, &cards)),
        ("hosts-none", h.clone(), hosts::page(&h, &none)),
    ]
}

pub(super) fn host(name: &str) -> HostRef {
    HostRef { id: name.replace('-', ""), name: name.into() }
}

pub(super) fn run(title: &str, on: &str, state: RunState, by: &str, ago: i64, detail: &str) -> RunLine {
    RunLine {
        id: format!("0192f7c3-{:04x}-7a11-9e0d-b1e4c05a77d0", title.len() * 37 + on.len()),
        title: title.into(),
        host: host(on),
        state,
        by: by.into(),
        risk: if state == RunState::AwaitingApproval { Risk::High } else { Risk::Medium },
        at_ms: NOW - ago,
        took_ms: state.is_final().then_some(1_940),
        exit: matches!(state, RunState::Verified | RunState::Failed)
            .then_some(i32::from(state == RunState::Failed)),
        detail: detail.into(),
    }
}

pub(super) fn recent() -> Vec<RunLine> {
    vec![
        run(
            "Restart celery.service",
            "worker-04",
            RunState::Verified,
            "by itself",
            52 * MINUTE,
            "active for 60 s",
        ),
        run("Clean up /tmp", "web-02", RunState::Verified, "by itself", 87 * MINUTE, "freed 3.4 GiB"),
        run(
            "Kill ffmpeg (pid 40112)",
            "worker-02",
            RunState::Verified,
            "approved by admin",
            5 * HOUR,
            "memory 96 → 41 %",
        ),
        run(
            "Restart indexer.service",
            "worker-09",
            RunState::NotVerified,
            "by itself",
            6 * HOUR,
            "failed again after 8 s",
        ),
        run("Stop rsyslog.service", "db-01", RunState::Rejected, "admin", DAY, "needed for audit"),
        run(
            "Restart redis.service",
            "cache-03",
            RunState::Refused,
            "operator",
            2 * DAY,
            "its policy does not allow it",
        ),
    ]
}

fn attention(state: State, title: &str, why: &str, chip: &str, notes: &[&str], button: &str) -> Attention {
    Attention {
        state,
        title: title.into(),
        href: "/incidents/1042".into(),
        why: why.into(),
        chip: chip.into(),
        notes: notes.iter().map(|&note| note.to_owned()).collect(),
        risk: None,
        line: Vec::new(),
        line_says: String::new(),
        button: button.into(),
        decide: false,
    }
}

fn overview() -> OverviewView {
    let rising: Vec<_> =
        (0..40).map(|at| Some(if at < 14 { 0.71 } else { 0.71 + 0.01 * (at - 14) as f32 })).collect();
    let first = Attention {
        line: rising.clone(),
        line_says: "/var of web-07, 71 to 98 percent in 14 minutes".into(),
        decide: true,
        risk: Some(Risk::Medium),
        ..attention(
            State::Crit,
            "web-07: nginx.service failed because /var is full",
            "shop-api.service writes 41 MB/s into /var/log since 02:58. The unit that failed could not write its log.",
            "Critical, 2 min",
            &["INC-1042", "4 signals"],
            "Review and decide",
        )
    };
    let second = Attention {
        risk: Some(Risk::High),
        ..attention(
            State::Wait,
            "Stop postgresql.service on db-02",
            "Asked by operator: the replica is to be rebuilt. db-02 is marked critical.",
            "Waits for you",
            &["expires 05:00"],
            "Review and decide",
        )
    };
    let third = Attention {
        line: wave(40, 0.5, 0.3, 3),
        line_says: "CPU of db-02 over an hour".into(),
        ..attention(
            State::Warn,
            "db-02: backup.service restarts again and again",
            "Six starts in ten minutes, each ends with exit 1 after 4 s.",
            "Warning, 6 min",
            &["INC-1041"],
            "Open incident",
        )
    };
    let fourth = attention(
        State::Off,
        "edge-03: no data for 6 min",
        "Last seen 03:08:12. edge-01, edge-02 and edge-04 do answer.",
        "No data",
        &["INC-1040", "last values kept"],
        "Open host",
    );
    OverviewView {
        held_ms: None,
        cards: Vec::new(),
        hosts: 52,
        healthy: 48,
        reporting: 51,
        missing: vec!["edge-03".into()],
        waiting: 2,
        oldest_wait_ms: Some(130 * MINUTE),
        incidents: (3, 1, 1),
        repairs: (14, 13),
        time_to_repair_ms: Some(72_000),
        gaps: 2,
        attention: vec![first, second, third, fourth],
        fleet: heat(
            &[
                ("web", 18),
                ("db", 6),
                ("cache", 4),
                ("queue", 4),
                ("worker", 12),
                ("edge", 4),
                ("build", 3),
                ("backup", 1),
            ],
            true,
        ),
        recent: recent(),
    }
}

fn heat(groups: &[(&str, usize)], troubled: bool) -> Vec<HeatGroup> {
    let cell = |role: &str, at: usize, load: f32| {
        let state = match (role, at) {
            ("web", 7) if troubled => State::Crit,
            ("db", 2) if troubled => State::Warn,
            ("edge", 3) if troubled => State::Off,
            ("worker", 11) if troubled => State::Wait,
            _ => State::Ok,
        };
        HeatCell {
            id: format!("{role}{at}"),
            name: format!("{role}-{at:02}"),
            short: format!("{at:02}"),
            state,
            busiest: Some(load.into()),
        }
    };
    let group = |(name, size): &(&str, usize)| {
        let loads = wave(*size, 0.35, 0.9, name.len() as u32 + 3);
        let cells = loads.iter().flatten().enumerate().map(|(at, load)| cell(name, at + 1, *load)).collect();
        HeatGroup { name: (*name).to_owned(), href: format!("/hosts?label=role%3D{name}"), cells }
    };
    groups.iter().map(group).collect()
}

#[allow(clippy::too_many_arguments)]
fn row(
    state: State,
    name: &str,
    labels: &[&str],
    problem: &str,
    cpu: f64,
    memory: f64,
    disk: (&str, f64),
    psi: f64,
) -> HostRow {
    let keys = ["role", "site", "tier"];
    let off = state == State::Off;
    let mut line = wave(27, cpu as f32, 0.2, name.len() as u32 + cpu.to_bits() as u32);
    if off {
        line[20..].fill(None);
    }
    HostRow {
        id: name.replace('-', ""),
        name: name.into(),
        state,
        labels: labels
            .iter()
            .enumerate()
            .map(|(at, label)| (keys[at].to_owned(), (*label).to_owned()))
            .collect(),
        problem: problem.into(),
        cpu_line: line,
        cpu: (!off).then_some(cpu),
        memory: (!off).then_some(memory),
        disk: Some((disk.0.into(), disk.1)),
        network: (!off).then_some((cpu * 4.2e7, cpu * 1.1e7)),
        pressure_io: (!off).then_some(psi),
        may_do: if memory > 0.6 { "units, temp files".into() } else { "watch only".into() },
        link: if off {
            String::new()
        } else if name == "worker-09" {
            "TLS".into()
        } else {
            "QUIC".into()
        },
        seen_ms: Some(if off { NOW - 6 * MINUTE } else { NOW - 2_000 }),
        uptime_ms: Some(41 * DAY),
    }
}

fn fleet() -> HostsView {
    let rows = vec![
        row(
            State::Crit,
            "web-07",
            &["shop", "fra-1"],
            "nginx.service failed, /var 98 %",
            0.34,
            0.61,
            ("/var", 0.98),
            0.68,
        ),
        row(
            State::Warn,
            "db-02",
            &["replica", "fra-1"],
            "backup.service restarts again and again",
            0.48,
            0.74,
            ("/var/lib/postgresql", 0.71),
            0.41,
        ),
        row(
            State::Off,
            "edge-03",
            &["edge", "ams-2"],
            "no data since 03:08:12",
            0.14,
            0.28,
            ("/", 0.44),
            0.0,
        ),
        row(
            State::Wait,
            "worker-11",
            &["worker", "fra-1"],
            "a proposal waits for approval",
            0.22,
            0.52,
            ("/", 0.61),
            0.01,
        ),
        row(
            State::Info,
            "backup-01",
            &["backup", "fra-2"],
            "/srv is full in 9 days",
            0.12,
            0.31,
            ("/srv", 0.88),
            0.09,
        ),
        row(State::Ok, "web-01", &["shop", "fra-1"], "", 0.31, 0.58, ("/var", 0.7), 0.01),
        row(State::Ok, "web-02", &["shop", "fra-1"], "", 0.29, 0.57, ("/var", 0.62), 0.0),
        row(State::Ok, "web-06", &["shop", "fra-1"], "", 0.33, 0.6, ("/var", 0.7), 0.01),
        row(State::Ok, "db-01", &["primary", "fra-1"], "", 0.44, 0.81, ("/var/lib/postgresql", 0.68), 0.06),
        row(State::Ok, "cache-01", &["cache", "fra-1"], "", 0.09, 0.86, ("/", 0.34), 0.0),
        row(State::Ok, "queue-01", &["queue", "fra-1"], "", 0.17, 0.48, ("/var/lib/rabbitmq", 0.39), 0.02),
        row(State::Ok, "worker-02", &["worker", "fra-1"], "", 0.74, 0.63, ("/", 0.58), 0.14),
        row(State::Ok, "worker-09", &["worker", "ams-2"], "", 0.66, 0.7, ("/", 0.55), 0.11),
        row(State::Ok, "edge-01", &["edge", "ams-2"], "", 0.14, 0.28, ("/", 0.41), 0.0),
    ];
    let query = Query::default().with("label", "site=fra-1").with("label", "site=ams-2");
    let paging = Paging { shown: "1 to 14 of 49".into(), newer: None, older: Some("/hosts?after=x".into()) };
    HostsView { rows, matching: 49, total: 52, query, paging }
}
