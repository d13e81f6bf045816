//! Incidents and approvals.

use sysop_common::action::{Risk, RunState};

use super::super::approvals::{self, ApprovalsView, Waiting};
use super::super::incident::evidence::{Culprit, Evidence, EvidenceChart};
use super::super::incident::{self, IncidentView, Link, Moment, Words};
use super::super::incidents::{self, IncidentsView};
use super::super::opinion::{FeedbackView, Note, View};
use super::super::proposal::{Approval, Decide, Proposal};
use super::super::shared::IncidentLine;
use super::fleet::{host, recent};
use super::{Ctx, DAY, HOUR, MINUTE, NOW, Page, ctx};
use crate::web::widgets::State;
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;
use crate::web::widgets::risk::Factor;

pub(super) fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let (list, one, inbox) = (ctx("/incidents"), ctx("/incidents/1042"), ctx("/approvals"));
    let closed = IncidentView {
        closed: Some((NOW - MINUTE, "nginx.service active for 60 s".into())),
        proposal: None,
        next: None,
        runs: recent()[..1].to_vec(),
        ..incident()
    };
    let capped = IncidentView {
        note: Some(Note {
            views: Vec::new(),
            verdict: "capped".into(),
            error: Some("1,000,000 of 1,000,000 tokens of the day are used".into()),
            ..note()
        }),
        ..incident()
    };
    vec![
        ("incident-capped", one.clone(), incident::page(&one, &capped)),
        ("incidents", list.clone(), incidents::page(&list, &open())),
        ("incidents-none", list.clone(), incidents::page(&list, &IncidentsView::default())),
        ("incident", one.clone(), incident::page(&one, &incident())),
        ("incident-closed", one.clone(), incident::page(&one, &closed)),
        ("approvals", inbox.clone(), approvals::page(&inbox, &waiting())),
        (
            "approvals-none",
            inbox.clone(),
            approvals::page(&inbox, &ApprovalsView { decided: recent(), ..ApprovalsView::default() }),
        ),
    ]
}

fn line(
    id: i64,
    state: State,
    on: &str,
    title: &str,
    detail: &str,
    ago: i64,
    repair: Option<RunState>,
) -> IncidentLine {
    IncidentLine {
        id,
        title: title.into(),
        host: host(on),
        state,
        opened_ms: NOW - ago,
        closed_ms: None,
        detail: detail.into(),
        repair,
    }
}

fn open() -> IncidentsView {
    IncidentsView {
        rows: vec![
            line(
                1042,
                State::Crit,
                "web-07",
                "nginx.service failed because /var is full",
                "shop-api.service writes 41 MB/s of log",
                7 * MINUTE,
                Some(RunState::AwaitingApproval),
            ),
            line(
                1041,
                State::Warn,
                "db-02",
                "backup.service restarts again and again",
                "six starts in ten minutes, exit 1",
                6 * MINUTE,
                None,
            ),
            line(1040, State::Off, "edge-03", "no data", "last seen 03:08:12", 6 * MINUTE, None),
            line(
                1039,
                State::Info,
                "backup-01",
                "/srv is full in 9 days",
                "grows 38 GiB a day",
                2 * DAY,
                None,
            ),
        ],
        open: 4,
        closed: 31,
        host: None,
        query: Query::default(),
        paging: Paging { shown: "4 of 4".into(), ..Paging::default() },
    }
}

pub(super) fn factors() -> Vec<Factor> {
    let factor = |name: &str, found: &str, weight| Factor {
        name: name.into(),
        found: found.into(),
        weight,
        why: if weight > 0.6 { "the host is marked critical".into() } else { String::new() },
    };
    vec![
        factor("Action", "medium", 0.5),
        factor("Reversible", "no need", 0.2),
        factor("Target", "critical", 0.7),
        factor("Blast radius", "1 host", 0.1),
        factor("Attempts", "first", 0.05),
    ]
}

pub(super) fn proposal() -> Proposal {
    Proposal {
        run: "0192f7c3-04d2-7a11-9e0d-b1e4c05a77d0".into(),
        title: "Restart nginx.service on web-07. About 2 s until it answers again.".into(),
        verb: "restart nginx.service".into(),
        host: host("web-07"),
        effect: "nginx.service is stopped and started; open connections end".into(),
        undo: "not needed: a restart leaves the same state".into(),
        irreversible: false,
        check: "nginx.service active after 10 s, and still after 60 s more".into(),
        failure: "the incident stays open, nothing is tried again by itself".into(),
        caveat: Some("It does not remove the cause. /var is full again in about 14 min unless shop-api.service writes less.".into()),
        why_asked: Some("web-07 is marked critical, which raises the risk".into()),
        risk: Risk::Medium,
        factors: factors(),
        command: "restart_service unit=nginx.service\n  call: systemd RestartUnit(\"nginx.service\", \"replace\")\n# web-07 only · at most 90 s · output kept up to 16 KiB\n# not before 03:14:00 · not after 03:29:00".into(),
        digest: "7c1e88fa40d2b1539aa0c2f81d6e90ad7c1e88fa40d2b1539aa0c2f81d6e90ad".into(),
        expires_ms: Some(NOW + 28 * MINUTE),
        approvals: Vec::new(),
        needed: 1,
        decide: Decide::Allowed,
    }
}

fn evidence(
    title: &str,
    detail: &str,
    value: &str,
    chart: Option<(&'static str, &str, Option<&str>)>,
) -> Evidence {
    let chart = chart.map(|(kind, metrics, label)| EvidenceChart {
        kind,
        metrics: metrics.into(),
        label: label.map(str::to_owned),
        unit: "count",
        limit: (kind == "space").then_some(95.0),
    });
    Evidence { title: title.into(), detail: detail.into(), value: value.into(), chart }
}

fn incident() -> IncidentView {
    let words = |text: &str, culprit| Words { text: text.into(), culprit };
    let link = |ago: i64, title: &str, detail: &str, state| Link {
        at_ms: NOW - ago,
        title: title.into(),
        detail: detail.into(),
        state,
    };
    let moment =
        |ago: i64, state, words: &str| Moment { at_ms: NOW - ago, state, words: words.into(), href: None };
    let culprit = |name: &str, pid, share, cpu, memory: u64, changed: &str, named| Culprit {
        name: name.into(),
        pid: Some(pid),
        share,
        cpu: Some(cpu),
        memory: Some(memory << 20),
        changed: changed.into(),
        named,
    };
    let before = |id, on: &str, title: &str, ago: i64| IncidentLine {
        closed_ms: Some(NOW - ago + 58_000),
        detail: "restarted by itself, verified".into(),
        state: State::Ok,
        ..line(id, State::Ok, on, title, "", ago, None)
    };
    IncidentView {
        id: 1042,
        state: State::Crit,
        host: host("web-07"),
        opened_ms: NOW - 7 * MINUTE,
        closed: None,
        verdict: vec![
            words("nginx.service on web-07 failed because /var is full: ", false),
            words("shop-api.service", true),
            words(" writes 41 MB/s into /var/log since 02:58.", false),
        ],
        signals: 4,
        found: "Found by rules in 9 s, without a model".into(),
        confidence: Some(0.96),
        track: Some((204, 212)),
        chain: vec![
            link(16 * MINUTE, "shop-api.service", "writes 41 MB/s", State::Warn),
            link(7 * MINUTE, "/var over 90 %", "full in 5 min at this rate", State::Warn),
            link(130_000, "/var is full", "no space left", State::Crit),
            link(128_000, "nginx.service failed", "exit 1", State::Crit),
        ],
        evidence: vec![
            evidence(
                "/var went from 71 % to 98 % in 14 min",
                "A straight line. Nothing else on /var grew in the 90 days before.",
                "98 %",
                Some(("space", "fs.used_ratio", Some("/var"))),
            ),
            evidence(
                "shop-api.service writes most of it",
                "pid 18342, 96 % of the bytes written to sda since 02:58.",
                "41 MB/s",
                Some(("io", "disk.read_bytes,disk.write_bytes", Some("sda"))),
            ),
            evidence(
                "Work stands still for I/O",
                "Pressure was below 3 % for the week before.",
                "68 %",
                Some(("pressure", "psi.io.some,psi.cpu.some,psi.memory.some", None)),
            ),
            evidence(
                "nginx.service ended with exit 1",
                "systemd: Result exit-code, sub-state failed, no restart pending.",
                "failed",
                None,
            ),
        ],
        window: (NOW - 30 * MINUTE, NOW),
        not_observed: vec!["writes per process of other users".into()],
        culprits: vec![
            culprit("shop-api.service", 18342, 0.96, 0.61, 1240, "started 02:58:04", true),
            culprit("systemd-journald.service", 402, 0.02, 0.09, 61, "", false),
        ],
        timeline: vec![
            moment(16 * MINUTE, State::Info, "shop-api.service started again, by hand on the host"),
            moment(7 * MINUTE, State::Warn, "Incident opened: /var over 90 %, full in 5 min at this rate"),
            moment(128_000, State::Crit, "nginx.service failed, raised to critical"),
            moment(119_000, State::Info, "Cause found by rules, 4 pieces of evidence"),
            moment(110_000, State::Wait, "Repair proposed, medium risk. It asks because web-07 is critical"),
        ],
        next: Some("Your decision. Without one the proposal expires at 03:42.".into()),
        before: vec![
            before(977, "worker-04", "/var over 90 %: indexer.service", 21 * DAY),
            before(912, "web-11", "nginx.service failed", 33 * DAY),
        ],
        proposal: Some(proposal()),
        note: Some(note()),
        helped: Some((61, 67)),
        feedback: FeedbackView {
            incident: 1042,
            words: vec![("operator".into(), "right".into(), "debug log left on".into())],
            may: true,
            own: None,
        },
        may_download: true,
        runs: Vec::new(),
        acked_by: None,
        may_ack: true,
    }
}

pub(super) fn note() -> Note {
    Note {
        id: 31,
        model: "local-llm-14b".into(),
        at_ms: NOW - 100_000,
        verdict: "accepted".into(),
        says: "incident".into(),
        views: vec![View {
            title: "shop-api.service fills /var".into(),
            summary: "The new release most likely ships with its debug log on. Restarting nginx helps for minutes only.".into(),
            reasoning: "E1 falls while E3 rises.".into(),
            root: "shop-api.service".into(),
            agrees: true,
            stated: 82,
            risk: Some(Risk::Medium),
            evidence: vec!["E1 fs.available /var down 11m 40.0GiB -> 1.0MiB".into()],
            against: Vec::new(),
            picks: vec!["restart shop-api.service".into()],
        }],
        counts_for: Some(78),
        track: (61, 67),
        rejects: vec!["offers O1 and O2 work against each other".into()],
        tokens: (2_900, 410),
        cached: 1_900,
        money: "0.0021 USD".into(),
        latency_ms: 4_200,
        turns: 2,
        ..Note::default()
    }
}

fn waiting() -> ApprovalsView {
    let high = Proposal {
        run: "0192f7c3-9999-7a11-9e0d-b1e4c05a77d0".into(),
        title: "Kill postgres (pid 40112) on db-02. Its connections end.".into(),
        verb: "kill postgres (pid 40112)".into(),
        host: host("db-02"),
        irreversible: true,
        undo: "cannot be undone: a process that ended is gone".into(),
        risk: Risk::High,
        needed: 2,
        approvals: vec![Approval { by: "admin".into(), at_ms: NOW - 2 * HOUR, comment: "Fine after 03:00".into() }],
        command: "kill_process pid=40112 start=8812345 comm=postgres\n  call: pidfd_send_signal(SIGTERM), SIGKILL after 10 s\n# db-02 only · at most 20 s".into(),
        caveat: None,
        ..proposal()
    };
    let item = |proposal, incident, origin: &str, ago: i64, host_now: &str| Waiting {
        proposal,
        incident,
        origin: origin.into(),
        since_ms: NOW - ago,
        host_now: host_now.into(),
    };
    ApprovalsView {
        waiting: vec![
            item(high, None, "asked by operator", 130 * MINUTE, "No incident, CPU 22 %, load 1.4."),
            item(proposal(), Some(1042), "proposed by rules", 2 * MINUTE, "CPU 34 %, /var 98 %."),
        ],
        chosen: 0,
        decided: recent(),
    }
}
