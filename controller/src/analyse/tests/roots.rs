use proptest::prelude::*;
use sysop_common::action::Risk;
use sysop_common::finding::{Category, Severity};

use super::*;
use crate::analyse::housekeeping::excuses;
use crate::analyse::offers::{About, offers};

fn finding(category: Category, entity: &str, seconds: i64, culprit: Option<(&str, u8)>) -> Finding {
    Finding {
        category,
        entity: entity.to_owned(),
        severity: Severity::Critical,
        confidence: 90,
        onset: START.plus(seconds * SECOND_MS),
        last_true: START.plus(3_600_000),
        active: true,
        title: "t".into(),
        cause: String::new(),
        culprit: culprit.map(|(unit, share)| Culprit::Unit { unit: unit.into(), share }),
        evidence: Vec::new(),
        not_observed: Vec::new(),
        caused_by: None,
    }
}

/// Groups as `root < others`, in order.
fn roots(findings: Vec<Finding>) -> Vec<String> {
    let name = |finding: &Finding| format!("{}:{}", finding.category.word(), finding.entity);
    let told = |group: Group| group.findings.iter().map(name).collect::<Vec<_>>().join(" < ");
    group(findings, &About::default()).into_iter().map(told).collect()
}

#[test]
fn causes_stand_before_what_they_cause_and_strangers_apart() {
    use Category as C;
    let leak = || finding(C::MemoryLeak, "app.service", -1_800, Some(("app.service", 90)));
    assert_eq!(
        roots(vec![
            finding(C::UnitFlapping, "app.service", 100, None),
            finding(C::OomKill, "app.service", 60, Some(("app.service", 90))),
            finding(C::MemoryPressure, "host", 0, Some(("app.service", 90))),
            leak(),
        ]),
        ["memory_leak:app.service < memory_pressure:host < oom_kill:app.service < unit_flapping:app.service"]
    );
    assert_eq!(
        roots(vec![finding(C::CpuPressure, "host", 10, None), finding(C::CpuSteal, "host", 0, None)]),
        ["cpu_steal:host < cpu_pressure:host"]
    );
    // The database fails first, and what needs it follows; its start comes first.
    let failed = |unit, at| finding(C::UnitFailed, unit, at, None);
    assert_eq!(
        roots(vec![failed("app.service", 20), failed("mariadb.service", 0)]),
        ["unit_failed:mariadb.service < unit_failed:app.service"]
    );
    assert_eq!(roots(vec![failed("app.service", 0), failed("web.service", 0)]).len(), 2);
    // About one service and at once: one incident. Hours apart: two.
    let cpu = |at| finding(C::CpuPressure, "host", at, Some(("app.service", 80)));
    let fds = finding(C::FdExhaustion, "app.service", 0, None);
    assert_eq!(roots(vec![cpu(60), fds.clone()]).len(), 1);
    assert_eq!(roots(vec![cpu(7_200), fds]).len(), 2);
}

#[test]
fn what_holds_much_raises_the_risk_and_nothing_is_offered_against_nobody() {
    let found = finding(Category::CpuPressure, "host", 0, Some(("app.service", 80)));
    let large = About { large: vec!["app.service"], ..About::default() };
    let risks = |about: &About<'_>, finding: &Finding| -> Vec<Risk> {
        offers(finding, about).iter().map(|offer| offer.risk).collect()
    };
    let (plain, raised) = (risks(&About::default(), &found), risks(&large, &found));
    assert_eq!(plain.len(), 2);
    assert!(plain.iter().zip(&raised).all(|(plain, raised)| *raised == plain.raised()));
    let data = finding(Category::CpuPressure, "host", 0, Some(("mysql.service", 80)));
    assert_eq!(risks(&About::default(), &data), raised);
    let diffuse = Finding { culprit: Some(Culprit::Diffuse { why: "w".into() }), ..found.clone() };
    let root = Culprit::Process { pid: 9, start_ticks: 1, comm: "x".into(), user: "root".into(), share: 90 };
    let of_root = Finding { culprit: Some(root), ..found.clone() };
    for nobody in [diffuse, of_root, Finding { culprit: None, ..found }] {
        assert!(offers(&nobody, &About::default()).is_empty());
    }
}

#[test]
fn housekeeping_excuses_load_for_some_hours_and_never_memory() {
    let backup = |category| finding(category, "host", 0, Some(("restic-home.service", 90)));
    let after = |hours: i64| START.plus(hours * 3_600_000);
    assert!(excuses(&backup(Category::IoPressure), after(1)));
    assert!(!excuses(&backup(Category::IoPressure), after(5)));
    assert!(!excuses(&backup(Category::MemoryPressure), after(1)));
    assert!(!excuses(&finding(Category::IoPressure, "host", 0, Some(("db.service", 90))), after(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_finding_is_in_one_group_whatever_their_order(
        picks in prop::collection::vec((0..Category::ALL.len(), 0usize..4, 0i64..900, prop::option::of(0usize..3)), 0..9),
        turn in 0usize..9,
    ) {
        let units = ["mysql.service", "a.service", "host", "/"];
        let mut findings: Vec<Finding> = picks.iter().map(|(category, entity, at, culprit)| {
            finding(Category::ALL[*category], units[*entity], *at, culprit.map(|at| (units[at], 70)))
        }).collect();
        findings.sort_by_key(Finding::fingerprint);
        findings.dedup_by_key(|finding| finding.fingerprint());
        let mut turned = findings.clone();
        turned.rotate_left(turn % findings.len().max(1));
        let (straight, other) = (group(findings.clone(), &About::default()), group(turned, &About::default()));
        prop_assert_eq!(&straight, &other);
        let told: usize = straight.iter().map(|group| group.findings.len()).sum();
        prop_assert_eq!(told, findings.len());
        for group in &straight {
            let prints: Vec<String> = group.findings.iter().map(Finding::fingerprint).collect();
            let inside = |cause: &String| prints.contains(cause);
            prop_assert!(group.findings.iter().all(|f| f.caused_by.as_ref().is_none_or(inside)));
            prop_assert!(group.findings[0].caused_by.is_none());
        }
    }
}
