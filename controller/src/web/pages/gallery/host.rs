//! One host.

use sysop_common::action::RunState;

use super::super::host::charts::Range;
use super::super::host::processes::{Order, ProcessRow, ProcessTable};
use super::super::host::series::{self, SeriesView};
use super::super::host::side::{GrantRow, Grants, UnitRow};
use super::super::host::{self as page, HostView, OpenIncident};
use super::super::shared::IncidentLine;
use super::fleet::{host, recent};
use super::{Ctx, DAY, HOUR, MINUTE, NOW, Page, ctx};
use crate::web::widgets::State;

pub(super) fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let stale = HostView {
        open: None,
        state: State::Ok,
        range: Range::Between(NOW - HOUR, NOW - 40 * MINUTE),
        ..web_07()
    };
    let w = ctx("/hosts/w7");
    vec![
        ("host", w.clone(), page::page(&w, &web_07())),
        ("host-zoom", w.clone(), page::page(&w, &stale)),
        ("series", w, series::page(NOW, &numbers())),
    ]
}

#[allow(clippy::too_many_arguments)]
fn process(
    name: &str,
    args: &str,
    pid: u32,
    user: &str,
    unit: &str,
    cpu: f64,
    rss_mib: u64,
    write: Option<f64>,
) -> ProcessRow {
    ProcessRow {
        pid,
        name: name.into(),
        args: args.into(),
        user: user.into(),
        unit: unit.into(),
        cpu: Some(cpu),
        rss: rss_mib << 20,
        io: write.map(|write| (write / 90.0, write)),
        age_ms: Some(if name == "shop-api" { 15 * MINUTE } else { 41 * DAY }),
        culprit: name == "shop-api",
    }
}

fn unit(
    state: State,
    name: &str,
    words: &str,
    since: i64,
    action: Option<(&'static str, &'static str)>,
) -> UnitRow {
    UnitRow { name: name.into(), state, words: words.into(), since_ms: Some(NOW - since), action }
}

fn web_07() -> HostView {
    let processes = vec![
        process(
            "shop-api",
            "/usr/bin/shop-api --config /etc/shop-api/config.toml",
            18342,
            "shop",
            "shop-api.service",
            0.614,
            1240,
            Some(41.2e6),
        ),
        process(
            "systemd-journal",
            "/lib/systemd/systemd-journald",
            402,
            "root",
            "systemd-journald.service",
            0.088,
            61,
            Some(0.6e6),
        ),
        process(
            "php-fpm8.2",
            "php-fpm: pool www",
            2204,
            "www-data",
            "php8.2-fpm.service",
            0.021,
            311,
            Some(0.0),
        ),
        process(
            "sysop-agent",
            "/usr/bin/sysop-agent run",
            903,
            "sysop",
            "sysop-agent.service",
            0.003,
            13,
            None,
        ),
        process("systemd", "/sbin/init", 1, "root", "init.scope", 0.001, 12, Some(0.0)),
    ];
    let grant = |words: &str, how: Option<&str>, limits: &str| GrantRow {
        words: words.into(),
        action: "restart_service",
        change: how.map(|how| how != "by itself"),
        how: how.map(str::to_owned),
        limits: limits.into(),
    };
    let old = IncidentLine {
        id: 1012,
        title: "/var over 90 %".into(),
        host: host("web-07"),
        state: State::Ok,
        opened_ms: NOW - 5 * DAY,
        closed_ms: Some(NOW - 5 * DAY + 4 * MINUTE),
        detail: "cleaned by itself".into(),
        repair: None,
    };
    HostView {
        may_rule: true,
        id: "w7".into(),
        name: "web-07".into(),
        probes: super::rest::probes(),
        state: State::Crit,
        state_words: "Critical for 2 min".into(),
        labels: vec![
            ("role".into(), "web".into()),
            ("app".into(), "shop".into()),
            ("site".into(), "fra-1".into()),
        ],
        facts: ["Debian 12.9", "kernel 6.1.0-40", "4 CPUs", "8 GiB", "up 41 d"].map(str::to_owned).to_vec(),
        link: "agent 0.1.0 over QUIC".into(),
        seen_ms: Some(NOW - 2_000),
        clock_offset_ms: Some(2_400),
        open: Some(OpenIncident {
            id: 1042,
            title: "nginx.service failed because /var is full".into(),
            cause: "shop-api.service, pid 18342, writes 41 MB/s of log since 02:58.".into(),
            state: State::Crit,
            waits: true,
        }),
        range: Range::Last(HOUR),
        cores: Some(4),
        disk_limits: Some((0.9, 0.97)),
        processes: ProcessTable {
            rows: processes,
            total: Some(141),
            order: Order::Cpu,
            at_ms: None,
            may_rule: true,
        },
        units: vec![
            unit(
                State::Crit,
                "nginx.service",
                "failed, exit 1",
                2 * MINUTE,
                Some(("restart_service", "Restart")),
            ),
            unit(State::Warn, "backup.service", "restarts again and again", 6 * MINUTE, None),
            unit(State::Ok, "shop-api.service", "running, 1.2 GiB", 15 * MINUTE, None),
            unit(State::Ok, "php8.2-fpm.service", "running, 311 MiB", 9 * DAY, None),
            unit(State::Ok, "systemd-journald.service", "running, 61 MiB", 41 * DAY, None),
            unit(State::Ok, "ssh.service", "running, 8 MiB", 41 * DAY, None),
            unit(State::Off, "apt-daily.service", "stopped", 20 * HOUR, None),
        ],
        units_total: 62,
        grants: Grants {
            actions: vec![
                grant("Restart and start services", Some("by itself"), "nginx.service, php*-fpm.service"),
                grant("Clean up temporary files", Some("after approval"), "/tmp, /var/tmp"),
                grant("Stop services", None, ""),
                grant("Kill processes", None, ""),
            ],
            protected: vec!["ssh.service".into(), "sysop-agent.service".into()],
            executor: true,
            agentless: false,
        },
        incidents: vec![
            IncidentLine {
                id: 1042,
                title: "nginx.service failed".into(),
                host: host("web-07"),
                state: State::Crit,
                opened_ms: NOW - 7 * MINUTE,
                closed_ms: None,
                detail: "/var is full".into(),
                repair: Some(RunState::AwaitingApproval),
            },
            old,
        ],
        runs: recent().into_iter().take(2).collect(),
        may_run: true,
    }
}

fn numbers() -> SeriesView {
    let rows = (0..12)
        .map(|at| {
            (
                NOW - HOUR + at * 10_000,
                vec![Some(format!("{}.2 %", 20 + at)), (at != 4).then(|| "0.4 %".to_owned())],
            )
        })
        .collect();
    SeriesView {
        host: host("web-07"),
        bounds: (NOW - HOUR, NOW),
        columns: vec!["cpu.user, %".into(), "cpu.steal, %".into()],
        rows,
        raw: "/api/v1/hosts/w7/series?metric=cpu.user,cpu.steal".into(),
    }
}
