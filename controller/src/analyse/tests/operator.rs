//! Rules of operators: when they are told, joined, muted; and that the same samples give the same.

use std::collections::BTreeMap;
use std::time::Instant;

use sysop_common::finding::{Category, Severity, fingerprint};
use sysop_common::time::MINUTE_MS;

use super::seen::*;
use crate::analyse::engine::{Engine, Step};
use crate::analyse::messages::Language;
use crate::rules::standing::{Compiled, Verdict};
use crate::rules::state::States;
use crate::store::rules::{Check, Definition, Rule};

fn rule(id: i64, check: Check, for_s: i64) -> Arc<Compiled> {
    let definition = Definition {
        name: format!("rule {id}"),
        check,
        for_ms: for_s * SECOND_MS,
        keep_ms: 0,
        severity: Severity::Warning,
        scope: None,
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        enabled: true,
    };
    Arc::new(Compiled::new(Rule {
        id,
        builtin: String::new(),
        definition,
        version: 1,
        carriers: Vec::new(),
        created_by: "ann".into(),
        created_at: UnixMs(0),
        updated_by: "ann".into(),
        updated_at: UnixMs(0),
    }))
}

fn expression(when: &str, clear: &str) -> Check {
    Check::Expression { when: when.to_owned(), clear: clear.to_owned() }
}

fn ticks(looks: impl IntoIterator<Item = Seen>) -> Vec<Arc<Stored>> {
    let one = |(n, seen): (usize, Seen)| seen.stored(n as u64 + 1, START.plus(n as i64 * 10 * SECOND_MS));
    looks.into_iter().enumerate().map(one).collect()
}

fn input(rules: &[Arc<Compiled>], ticks: &[Arc<Stored>]) -> HostInput {
    HostInput { rules: rules.to_vec(), window: Window::new(ticks.to_vec(), None), ..HostInput::default() }
}

fn step(input: HostInput) -> Step {
    Engine::new().step(input).unwrap_or_else(|_| panic!("no samples"))
}

/// Root first, one line per incident: category and entity of its findings, then its offers.
fn told(step: &Step) -> Vec<String> {
    let line = |group: &Group| {
        let of = |f: &Finding| format!("{} {}", f.category.word(), f.entity);
        let findings: Vec<String> = group.findings.iter().map(of).collect();
        let offers: Vec<&str> = group.offers.iter().map(|offer| offer.action.name()).collect();
        format!("{} => {}", findings.join(" > "), offers.join(", "))
    };
    step.groups.iter().map(line).collect()
}

fn load(values: &[i64]) -> Vec<Arc<Stored>> {
    ticks(values.iter().map(|load| Seen::default().set(metric::LOAD_1, "", *load * 100)))
}

#[test]
fn a_rule_is_told_once_its_time_is_over_with_its_values_and_labels() {
    let rules = [rule(1, expression("load.1 > 4", "load.1 < 2"), 30)];
    assert!(told(&step(input(&rules, &load(&[1, 5, 5, 5])))).is_empty());
    let step = step(input(&rules, &load(&[1, 5, 5, 5, 6])));
    assert_eq!(told(&step), ["rule_breached rule 1 => "]);
    let finding = &step.groups[0].findings[0];
    assert_eq!((finding.onset, finding.title.as_str()), (START.plus(10_000), "rule 1"));
    assert!(finding.cause.contains("load.1 > 4") && finding.cause.contains("30 s"), "{}", finding.cause);
    assert_eq!(
        (finding.evidence[0].metric.as_str(), finding.evidence[0].text.as_str()),
        ("load.1", "load.1 is 6")
    );
    assert!(finding.evidence[1].text.contains("team=web"));
    // Between its limits it goes on; below both it is over.
    assert_eq!(told(&self::step(input(&rules, &load(&[5, 5, 5, 5, 3, 3])))).len(), 1);
    assert!(told(&self::step(input(&rules, &load(&[5, 5, 5, 5, 1])))).is_empty());
    let vi = HostInput { language: Language::Vietnamese, ..input(&rules, &load(&[5; 5])) };
    assert!(self::step(vi).groups[0].findings[0].cause.contains("luật"));
}

#[test]
fn each_mount_is_judged_by_itself_and_the_finding_names_those_that_fire() {
    let seen = |root: f64, data: f64| Seen::default().fs("/", root).fs("/data", data);
    let rules = [rule(1, expression("fs.used_ratio > 95 %", ""), 0)];
    let step = step(input(&rules, &ticks([seen(50.0, 50.0), seen(50.0, 3.0)])));
    let found: Vec<&Finding> = step
        .groups
        .iter()
        .flat_map(|g| &g.findings)
        .filter(|f| f.category == Category::RuleBreached)
        .collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].title.ends_with(": /data") && found[0].evidence[0].label == "/data");
}

#[test]
fn a_rule_about_what_a_detector_tells_joins_its_incident() {
    let seen = || Seen::default().fs("/", 0.0);
    let rules =
        [rule(1, expression("fs.used_ratio > 95 %", ""), 0), rule(2, expression("load.1 > 1", ""), 0)];
    let looks = (0..5).map(|_| seen().set(metric::LOAD_1, "", 900));
    let step = step(input(&rules, &ticks(looks)));
    let lines = told(&step);
    assert!(lines.iter().any(|l| l.starts_with("disk_fill / > rule_breached rule 1 =>")), "{lines:?}");
    assert!(lines.iter().any(|l| l == "rule_breached rule 2 => "), "{lines:?}");
}

#[test]
fn what_must_run_is_told_with_a_start_and_a_failed_unit_leads() {
    let must = [rule(1, Check::Unit { unit: "app.service".into() }, 20)];
    let looks = |unit: Unit| {
        ticks((0..4).map(move |_| Seen::default().unit(running("x.service")).unit(unit.clone())))
    };
    let stopped = step(input(&must, &looks(unit("app.service", Active::Inactive, "dead"))));
    assert_eq!(told(&stopped), ["must_run app.service => start_service, restart_service"]);
    assert!(
        stopped.groups[0].offers.iter().all(|offer| !offer.unattended),
        "it may have been stopped on purpose"
    );
    assert_eq!(stopped.groups[0].findings[0].evidence[0].text, "unit.active app.service is inactive (dead)");
    assert!(told(&step(input(&must, &looks(running("app.service"))))).is_empty());
    let failed = step(input(&must, &looks(failed("app.service", "exit-code"))));
    assert_eq!(
        told(&failed),
        ["unit_failed app.service > must_run app.service => restart_service, start_service"]
    );
    // Not loaded is not running; no units at all is not known.
    assert_eq!(told(&step(input(&must, &looks(running("y.service"))))).len(), 1);
    let blind = step(input(&must, &load(&[1; 9])));
    assert!(told(&blind).is_empty());
    assert!(matches!(blind.input.standings[0].verdict(), Verdict::Unknown(_)));
    let finding = &stopped.groups[0].findings[0];
    assert!(!Engine::new().observes(&blind.input, finding));
    // The rule is gone: so is its trouble.
    assert!(Engine::new().observes(&step(input(&[], &load(&[1]))).input, finding));
}

#[test]
fn processes_and_ports_are_judged_by_what_a_sample_can_tell() {
    let process = |comm: &str| Process { pid: 9, comm: comm.into(), state: b'S', ..Process::default() };
    let verdict = |check: Check, seen: Seen| {
        let step = step(input(&[rule(1, check, 0)], &ticks([seen])));
        step.input.standings[0].verdict()
    };
    let worker = |least| Check::Process { name: "work*".into(), least };
    let two = Seen::default().process(process("worker")).process(process("worker"));
    assert_eq!(verdict(worker(2), two.clone()), Verdict::Fine);
    // A sample has the top ones only: that there are more is not ruled out.
    assert!(matches!(verdict(worker(3), two.clone()), Verdict::Unknown(_)));
    let all = two.set(metric::PROCS_TOTAL, "", 2);
    assert!(matches!(verdict(worker(3), all), Verdict::Fires { .. }));
    let listens = |port: &str| Seen::default().set(metric::TCP_LISTENING, port, 1);
    assert_eq!(verdict(Check::Port { port: 443 }, listens("443")), Verdict::Fine);
    assert!(matches!(verdict(Check::Port { port: 443 }, listens("22")), Verdict::Fires { .. }));
    assert!(matches!(verdict(Check::Port { port: 443 }, Seen::default()), Verdict::Unknown(_)));
    let none = Seen::default().set(metric::TCP_LISTEN, "", 0);
    assert!(matches!(verdict(Check::Port { port: 443 }, none), Verdict::Fires { .. }));
    let cut = listens("22").set(metric::TCP_LISTENING, metric::MORE_PORTS, 1);
    assert!(matches!(verdict(Check::Port { port: 443 }, cut), Verdict::Unknown(_)));
}

#[test]
fn maintenance_mutes_what_is_new_and_not_what_is_open() {
    let rules = [rule(1, expression("load.1 > 4", ""), 0)];
    let held = || HostInput { maintenance: true, ..input(&rules, &load(&[5])) };
    let muted = step(held());
    assert!(muted.groups.is_empty());
    assert!(matches!(muted.input.standings[0].verdict(), Verdict::Fires { .. }), "measured all the same");
    let open = [fingerprint(Category::RuleBreached, "rule 1")].into();
    assert_eq!(step(HostInput { open, ..held() }).groups.len(), 1);
}

#[test]
fn looks_now_and_then_over_a_restart_give_what_one_look_gives_byte_for_byte() {
    let rules = [
        rule(1, expression("avg(load.1, 1 min) > 4", "load.1 < 2"), 120),
        rule(2, expression("delta(load.1, 5 min) > 3 or absent(swap.total)", ""), 60),
        rule(3, Check::Port { port: 22 }, 30),
    ];
    let all = load(&(0..60).map(|n| (n * 7) % 11).collect::<Vec<_>>());
    let json = |step: &Step| {
        let groups = step.groups.iter().map(|g| serde_json::to_string(&(&g.findings, &g.offers)).unwrap());
        (groups.collect::<String>(), step.input.state.rules.pack())
    };
    let once = json(&step(input(&rules, &all)));
    assert_eq!(json(&step(input(&rules, &all))), once);
    for every in [1, 6, 13] {
        let mut states = States::default();
        let mut last = None;
        for end in (1..=all.len()).filter(|end| end % every == 0 || *end == all.len()) {
            let mut next = input(&rules, &all[..end]);
            // What is remembered goes through its packed form, as over a restart.
            next.state.rules = States::unpack(&states.pack());
            let step = step(next);
            states = step.input.state.rules.clone();
            last = Some(json(&step));
        }
        assert_eq!(last.as_ref(), Some(&once), "every {every}");
    }
}

/// Prints what fifty rules cost beside the rest of a look; far more is allowed than is used, for slow machines
/// and builds without optimisation.
#[test]
fn fifty_rules_cost_little_of_a_look() {
    let seen = |n: i64| {
        let mut seen = Seen::default().fs("/", 50.0).fs("/data", 40.0).set(metric::LOAD_1, "", n % 300);
        for id in (1..=8).map(MetricId) {
            seen = seen.set(id, "", n * 900 + i64::from(id.0));
        }
        (0..40).fold(seen, |seen, n| seen.unit(running(&format!("u{n:02}.service"))))
    };
    let all = ticks((0..90).map(seen));
    let rules: Vec<Arc<Compiled>> = (0..50)
        .map(|n| match n % 5 {
            0 => rule(n, expression("avg(cpu.usage, 15 min) > 90 % and load.1 > 4", "cpu.usage < 50 %"), 60),
            1 => rule(n, expression("fs.used_ratio > 95 % and fs.read_only == 0", ""), 60),
            2 => rule(n, expression("max(load.1, 10 min) - min(load.1, 10 min) > 4", ""), 60),
            3 => rule(n, Check::Unit { unit: format!("u{n:02}.service") }, 60),
            _ => rule(n, expression("load.1 / 2 > 4 or delta(load.1, 5 min) > 3", ""), 60),
        })
        .collect();
    let before = step(input(&rules, &all[..84]));
    let mut next = input(&rules, &all);
    next.state.rules = before.input.state.rules;
    let started = Instant::now();
    let rounds = 20;
    for _ in 0..rounds {
        let mut again = next.clone();
        crate::analyse::operator::stand(&mut again);
    }
    let each = started.elapsed() / rounds;
    println!("a minute's look: {each:?} for 50 rules");
    assert!(each.as_millis() < 5 * MINUTE_MS as u128 / 1_000, "{each:?}");
}
