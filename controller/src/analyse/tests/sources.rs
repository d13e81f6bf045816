//! Trouble that comes from outside, or that nobody's process shows: sources, resolvers, logs.

use super::entity::{check, findings, host};
use super::seen::*;
use sysop_common::finding::{Category, fingerprint};

#[test]
fn resolver_that_does_not_answer_is_told_and_a_lost_packet_is_not() {
    let asked = |failed: fn(i64) -> i64, unit: Unit| {
        host(30, move |n| {
            let seen = Seen::default().unit(unit.clone()).set(metric::DNS_TRIES, "", n);
            seen.set(metric::DNS_FAILURES, "", failed(n))
        })
    };
    let other = || running("app.service");
    check(&asked(|n| n, other()), &["dns_failure host critical => "]);
    let told = ["dns_failure host warning => restart_service unbound.service"];
    check(&asked(|n| n * 7 / 10, running("unbound.service")), &told);
    check(&asked(|n| n / 4, other()), &[]);
    let calm =
        host(90, |n| Seen::default().set(metric::DNS_TRIES, "", n / 6).set(metric::DNS_FAILURES, "", n / 80));
    check(&calm, &[]);
}

fn tries(five: i64, hour: i64, accepted: i64) -> HostInput {
    host(10, move |_| {
        Seen::default()
            .set(metric::SIGNIN_FAILED, "", hour)
            .set(metric::SIGNIN_SOURCES, "", i64::from(hour >= 30))
            .set(metric::SIGNIN_FAILED_5M, "203.0.113.9", five)
            .set(metric::SIGNIN_FAILED_60M, "203.0.113.9", hour)
            .set(metric::SIGNIN_ACCEPTED_30D, "203.0.113.9", accepted)
    })
}

#[test]
fn passwords_tried_from_one_address_or_many_are_told_and_a_users_typos_are_not() {
    check(&tries(25, 25, 0), &["brute_force 203.0.113.9 warning => "]);
    check(&tries(2, 35, 0), &["brute_force 203.0.113.9 warning => "]);
    check(&tries(5, 12, 0), &[]);
    // Who got in within the month is nobody's attacker.
    check(&tries(25, 60, 3), &[]);
    let blind = tries(25, 25, MISSING);
    check(&blind, &["brute_force 203.0.113.9 warning => "]);
    assert_eq!(findings(&blind)[0].not_observed.len(), 1);
    let many = host(10, |_| {
        let seen = Seen::default().set(metric::SIGNIN_FAILED, "", 1_800).set(metric::SIGNIN_SOURCES, "", 30);
        (1..=8).fold(seen, |seen, n| {
            let source = format!("203.0.113.{n}");
            let seen = seen.set(metric::SIGNIN_FAILED_5M, &source, 5);
            seen.set(metric::SIGNIN_FAILED_60M, &source, 60).set(metric::SIGNIN_ACCEPTED_30D, &source, 0)
        })
    });
    check(&many, &["brute_force sources warning => "]);
}

#[test]
fn failed_sign_ins_without_their_sources_are_told_when_they_are_far_more_than_usual() {
    let failed = |each: i64| {
        host(80, move |n| {
            let seen =
                Seen::default().set(metric::SIGNIN_FAILED, "", if n > 60 { (n - 60) * each } else { 0 });
            seen.set(metric::SIGNIN_SOURCES, "", MISSING)
        })
    };
    let found = findings(&failed(12));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].category, found[0].entity.as_str()), (Category::BruteForce, "host"));
    assert!(found[0].not_observed[0].contains("utmp"));
    check(&failed(3), &[]);
}

#[test]
fn new_source_of_very_many_connections_is_told_and_a_proxy_is_not() {
    let from = |before: i64, now: i64, all: i64| {
        host(90, move |n| {
            let count = if n > 80 { now } else { before };
            let seen = Seen::default().set(metric::TCP_INBOUND, "", all);
            if count > 0 { seen.set(metric::TCP_INBOUND_FROM, "203.0.113.9", count) } else { seen }
        })
    };
    check(&from(0, 400, 450), &["connection_flood 203.0.113.9 warning => "]);
    check(&from(400, 450, 450), &[]);
    check(&from(0, 400, 2_000), &[]);
    check(&from(0, 100, 110), &[]);
}

#[test]
fn log_that_floods_is_told_with_the_service_that_began_to_work() {
    let logs = |log: &'static str, rate: i64, alone: bool| {
        host(60, move |n| {
            let late = (n - 40).max(0);
            let worker = |name: &str, share: i64| Unit {
                cpu_us: Some((n * 1_000 + late * share * 100_000) as u64),
                io_read_bytes: Some(0),
                io_write_bytes: Some((late * share * 10_000_000) as u64),
                ..running(name)
            };
            Seen::default()
                .unit(worker("app.service", 40))
                .unit(worker("web.service", if alone { 0 } else { 39 }))
                .unit(worker("systemd-journald.service", 90))
                .set(metric::LOG_BYTES, log, 1_000 * n + late * 10 * rate)
        })
    };
    let named = "restart_service app.service, stop_service app.service";
    check(&logs("journal", 20 << 20, true), &[&format!("log_flood journal critical => {named}")]);
    check(
        &logs("/var/log/app.log", 2 << 20, true),
        &[&format!("log_flood /var/log/app.log warning => {named}")],
    );
    // Two of a size: nobody is named, and nothing is offered.
    check(&logs("journal", 20 << 20, false), &["log_flood journal critical => "]);
    check(&logs("journal", 1 << 16, true), &[]);
}

#[test]
fn attack_goes_on_while_failures_come_and_is_over_then() {
    let open = [fingerprint(Category::BruteForce, "203.0.113.9")];
    let open = HostInput { open: open.into(), ..tries(1, 40, 0) };
    assert_eq!(findings(&open).len(), 1);
    let open = HostInput { open: open.open, ..tries(0, 40, 0) };
    assert!(findings(&open).is_empty(), "over, though the hour remembers");
}
