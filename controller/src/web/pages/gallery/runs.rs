//! Runs.

use sysop_common::action::{Risk, RunState};

use super::super::run::{self as one, Output, RefusalView, RunView, Step};
use super::super::run_new::{self, ActionChoice, Parameter, Review, RunNewView};
use super::super::runs::{self, RunsView};
use super::fleet::{host, recent, run};
use super::incident::{factors, proposal};
use super::{Ctx, MINUTE, NOW, Page, ctx};
use crate::web::widgets::State;
use crate::web::widgets::list::Paging;

pub(super) fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let (all, ran, new) = (ctx("/runs"), ctx("/runs/0192f7c3"), ctx("/runs/new"));
    let paging = Paging { shown: "Newest 6 of 214".into(), newer: None, older: Some("?after=x".into()) };
    let refused = RunView {
        refusal: Some(refusal()),
        output: None,
        steps: steps(true),
        line: run("Restart nginx.service", "web-07", RunState::Refused, "operator", 4 * MINUTE, ""),
        ..verified()
    };
    let choosing = RunNewView { review: None, ..by_hand() };
    vec![
        ("runs", all.clone(), runs::page(&all, &RunsView { rows: recent(), paging, ..RunsView::default() })),
        ("run", ran.clone(), one::page(&ran, &verified())),
        ("run-refused", ran.clone(), one::page(&ran, &refused)),
        ("run-new", new.clone(), run_new::page(&new, &choosing)),
        ("run-review", new.clone(), run_new::page(&new, &by_hand())),
    ]
}

fn steps(refused: bool) -> Vec<Step> {
    let step = |ago: i64, state, words: &str, detail: &str| Step {
        at_ms: NOW - ago,
        state,
        words: words.into(),
        detail: detail.into(),
    };
    let mut steps = vec![
        step(110_000, State::Info, "proposed by rules", "INC-1042, first attempt"),
        step(40_000, State::Ok, "approved by admin", "digest 7c1e88fa40d2"),
        step(39_800, State::Run, "sent over QUIC", ""),
    ];
    if refused {
        steps.push(step(
            39_700,
            State::Crit,
            "refused by web-07",
            "policy: restart_service is not allowed for nginx.service",
        ));
    } else {
        steps.push(step(
            39_700,
            State::Run,
            "accepted by web-07",
            "signature, host, expiry, policy, pre-check: all fit",
        ));
        steps.push(step(39_600, State::Run, "started", ""));
        steps.push(step(37_700, State::Ok, "ended well", "exit 0 after 1.9 s"));
        steps.push(step(27_700, State::Ok, "verified", "nginx.service is active"));
    }
    steps
}

fn verified() -> RunView {
    RunView {
        line: run("Restart nginx.service", "web-07", RunState::Verified, "approved by admin", 2 * MINUTE, ""),
        incident: Some(1042),
        reason: "nginx.service failed".into(),
        steps: steps(false),
        command: proposal().command,
        digest: Some(proposal().digest),
        factors: factors(),
        refusal: None,
        output: Some(Output { text: "● nginx.service - A high performance web server\n   Active: active (running)\n   Main PID: 21877 (nginx)".into(), bytes: 48_213, kept: 16_384 }),
        proposal: None,
        may_cancel: false,
        may_settle: false,
    }
}

fn refusal() -> RefusalView {
    RefusalView {
        reason: "Its owner's policy does not allow restart_service for nginx.service.".into(),
        remedy: Some("[[allow]]\naction = \"restart_service\"\nunits = [\"nginx.service\"]".into()),
        place: "/etc/sysop/policy.toml".into(),
    }
}

fn by_hand() -> RunNewView {
    let parameter = |name, label, value: &str, offers: &[&str], hint| Parameter {
        name,
        label,
        value: value.into(),
        offers: offers.iter().map(|&o| o.to_owned()).collect(),
        hint,
    };
    let choice = |name, words: &str, floor, parameters, refused: Option<&str>, chosen| ActionChoice {
        name,
        words: words.into(),
        floor,
        parameters,
        refused: refused.map(str::to_owned),
        chosen,
    };
    let unit = || {
        vec![parameter(
            "unit",
            "Unit",
            "nginx.service",
            &["nginx.service", "php8.2-fpm.service"],
            "A service's full name",
        )]
    };
    RunNewView {
        host: host("web-07"),
        choices: vec![
            choice("restart_service", "Restart a service", Risk::Medium, unit(), None, true),
            choice("start_service", "Start a service", Risk::Low, unit(), None, false),
            choice(
                "stop_service",
                "Stop a service",
                Risk::Medium,
                Vec::new(),
                Some("Not allowed by web-07's policy."),
                false,
            ),
            choice(
                "kill_process",
                "Kill a process",
                Risk::Medium,
                Vec::new(),
                Some("Not allowed by web-07's policy."),
                false,
            ),
            choice(
                "cleanup_temp_files",
                "Clean up temporary files",
                Risk::Low,
                vec![
                    parameter("root", "Directory", "/tmp", &["/tmp", "/var/tmp"], ""),
                    parameter("min_age_s", "Not modified for, seconds", "86400", &[], "At least 600"),
                ],
                None,
                false,
            ),
        ],
        review: Some(Review {
            title: "Restart nginx.service on web-07 now, about 2 s outage".into(),
            button: "Restart nginx.service on web-07 now".into(),
            action: "restart_service".into(),
            parameters: vec![("unit".into(), "nginx.service".into())],
            effect: proposal().effect,
            undo: proposal().undo,
            check: proposal().check,
            risk: Risk::Medium,
            factors: factors(),
            command: proposal().command,
            irreversible: false,
            needs_approval: false,
            idempotency_key: "0192f7c3-04d2-7a11-9e0d-b1e4c05a77d0".into(),
        }),
        error: None,
    }
}
