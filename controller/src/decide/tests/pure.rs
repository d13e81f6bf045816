//! Risk, policy, budgets and plans as pure functions.

use super::*;

fn any_action() -> impl Strategy<Value = Action> {
    let unit = prop_oneof![
        Just("nginx.service"),
        Just("ssh.service"),
        Just("mysql.service"),
        Just("systemd-logind.service"),
    ];
    (0..5u8, unit, 600..200_000u32).prop_map(|(kind, unit, min_age_s)| {
        let unit = unit.parse().unwrap();
        match kind {
            0 => Action::RestartService { unit },
            1 => Action::StartService { unit },
            2 => Action::StopService { unit },
            3 => Action::KillProcess { process: ProcessRef { pid: 42, start_ticks: 7, comm: "burn".into() } },
            _ => Action::CleanupTempFiles { root: "/tmp".parse().unwrap(), min_age_s, max_bytes: 1 },
        }
    })
}

const RISKS: [Risk; 3] = [Risk::Low, Risk::Medium, Risk::High];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn risk_is_never_below_floor_or_offer_and_no_circumstance_lowers_it(
        action in any_action(), flags in prop::collection::vec(any::<bool>(), 6),
        share in prop::option::of(0u8..=100), elsewhere in 0u32..40, fleet in 0u32..100,
        offered in prop::option::of(0usize..3), less in 0usize..6,
    ) {
        let protected = ["nginx*".to_owned()];
        let of = |flags: &[bool]| {
            let circumstances = Circumstances {
                host_critical: flags[0],
                protected: if flags[1] { &protected } else { &[] },
                running: Some(flags[2]),
                share,
                process_unit: flags[3].then_some("nginx.service"),
                process_user: flags[4].then_some("root"),
                elsewhere,
                fleet,
                busy_hours: flags[5],
                offered: offered.map(|at| RISKS[at]),
            };
            assess(&action, &circumstances)
        };
        let all = of(&flags);
        prop_assert!(all.risk >= action.entry().floor);
        prop_assert!(offered.is_none_or(|at| all.risk >= RISKS[at]));
        prop_assert_eq!(all.factors.last().unwrap().risk, all.risk);
        prop_assert!(all.factors.windows(2).all(|pair| pair[0].risk <= pair[1].risk));
        let mut fewer = flags.clone();
        fewer[less] = false;
        prop_assert!(of(&fewer).risk <= all.risk);
    }

    #[test]
    fn nothing_runs_by_itself_when_any_condition_is_missing(
        action in any_action(), risk in 0usize..3, holds in prop::collection::vec(prop::bool::weighted(0.9), 12),
        spent in (0u32..4, 0u32..5, 0u32..4, any::<bool>(), 0u32..60),
    ) {
        let flags = [holds[2]];
        let allowed = Allowed {
            action: action.name().into(),
            units: vec!["*".into()],
            roots: vec!["/tmp".into()],
            processes: vec!["*".into()],
            users: Vec::new(),
            automatic: holds[9],
        };
        let grants = Grants {
            executor: holds[7],
            allow: if holds[8] { vec![allowed] } else { Vec::new() },
            protected: if holds[10] { Vec::new() } else { vec!["*".into()] },
            ..Grants::default()
        };
        let spent = Spent { incident: spent.0, host: spent.1, other_hosts: spent.2, counted: spent.3, fleet: spent.4 };
        let inputs = Inputs {
            action: &action,
            risk: RISKS[risk],
            automation: holds[0],
            maintenance: if holds[1] { None } else { Some("upgrade") },
            assignments: &flags,
            source: if holds[3] { OfferSource::Analyser } else { OfferSource::Model },
            unattended: holds[4],
            fresh: holds[5],
            grants: &grants,
            process_user: Some("www-data"),
            known: holds[6],
            failed_before: !holds[11],
            doubt: None,
            spent: &spent,
        };
        let unit_ok = holds[10] || action.unit().is_none();
        let conditions = holds[..10].iter().all(|holds| *holds) && unit_ok && holds[11];
        let budget = spent.incident < 2 && spent.host < 3
            && (spent.counted || spent.other_hosts < (spent.fleet * 5 / 100).max(1));
        let automatic = waits(&inputs).is_empty();
        prop_assert_eq!(automatic, conditions && budget && RISKS[risk] < Risk::High);
    }

    #[test]
    fn nothing_is_planned_beside_an_open_run_or_after_a_person_or_the_host_said_no(
        past in prop::collection::vec((0usize..18, any::<bool>(), any::<bool>(), 1u32..4), 0..6),
        automatic in any::<bool>(),
    ) {
        let action = restart("nginx.service");
        let past: Vec<Past> = past.iter().map(|(state, pending, withdrawn, attempt)| Past {
            action: action.clone(),
            attempt: *attempt,
            state: RunState::ALL[*state],
            pending: *pending,
            withdrawn: *withdrawn,
            updated_at: NOW,
        }).collect();
        let offers = [Judged { action: action.clone(), waits: if automatic { vec![] } else { vec![Wait::Stale] } }];
        if let Some(planned) = next(&offers, &past, NOW.plus(MINUTE_MS)) {
            prop_assert!(past.iter().all(|run| !run.pending));
            prop_assert!(past.iter().all(|run| !matches!(run.state, RunState::Rejected | RunState::Refused)));
            prop_assert!(past.iter().all(|run| run.attempt < planned.attempt));
            prop_assert_eq!(planned.automatic, automatic);
        }
    }

    #[test]
    fn budgets_count_distinct_other_hosts_and_only_their_window(
        runs in prop::collection::vec((1u128..8, 0i64..70), 0..20), fleet in 0u32..200,
    ) {
        let claims: Vec<(HostId, UnixMs)> =
            runs.iter().map(|(host, ago)| (host_id(*host), NOW.plus(-ago * MINUTE_MS))).collect();
        let spent = Spent::count(claims.iter().copied(), host_id(1), 0, fleet, NOW);
        let others: std::collections::BTreeSet<_> =
            runs.iter().filter(|(host, ago)| *host != 1 && *ago < 10).map(|(host, _)| host).collect();
        prop_assert_eq!(spent.other_hosts as usize, others.len());
        prop_assert_eq!(spent.host as usize, runs.iter().filter(|(host, ago)| *host == 1 && *ago < 60).count());
        prop_assert_eq!(spent.counted, runs.iter().any(|(host, ago)| *host == 1 && *ago < 10));
    }
}
