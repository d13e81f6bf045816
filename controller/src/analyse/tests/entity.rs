//! Trouble of single services, processes and sources, and what only looks like it.

use std::collections::BTreeSet;

use super::seen::*;
use crate::analyse::messages::Language;
use crate::analyse::offers::About;
use crate::analyse::rules::entity::entity_lane;
use sysop_common::finding::{Category, Severity};

/// Looks of ten seconds, learned from.
pub(super) fn host(looks: i64, seen: impl Fn(i64) -> Seen) -> HostInput {
    let mut input = every_10s((0..looks).map(seen));
    input.state.entities.advance(&input.window, &BTreeSet::new());
    input
}

pub(super) fn findings(input: &HostInput) -> Vec<Finding> {
    let found: Vec<Finding> = entity_lane().iter().flat_map(|detector| detector.look(input)).collect();
    for finding in &found {
        assert!(!finding.evidence.is_empty() && !finding.title.is_empty(), "{finding:?}");
        for row in &finding.evidence {
            assert!(row.from <= row.to && !row.text.contains('{'), "{row:?}");
        }
        let detector = entity_lane()
            .into_iter()
            .find(|d| d.category() == finding.category && d.observes(input, &finding.entity));
        assert!(detector.is_some(), "found, so it is observed: {finding:?}");
    }
    found
}

/// `category entity severity => offers` of each group.
#[track_caller]
pub(super) fn check(input: &HostInput, expected: &[&str]) {
    let line = |group: &Group| {
        let found: Vec<String> = group
            .findings
            .iter()
            .map(|f| format!("{} {} {}", f.category.word(), f.entity, f.severity.word()))
            .collect();
        let offers: Vec<String> =
            group.offers.iter().map(|o| format!("{} {}", o.action.name(), o.action.target())).collect();
        format!("{} => {}", found.join(" > "), offers.join(", "))
    };
    let told: Vec<String> = group(findings(input), &About::default()).iter().map(line).collect();
    assert_eq!(told, expected);
    // Another language says something else about the same.
    let other = HostInput { language: Language::Vietnamese, ..input.clone() };
    for (english, vietnamese) in findings(input).iter().zip(findings(&other)) {
        assert_ne!(english.title, vietnamese.title);
        assert_eq!(english.fingerprint(), vietnamese.fingerprint());
    }
}

fn app(pid: u32) -> Process {
    Process {
        pid,
        start_ticks: 77,
        comm: "app".into(),
        user: "app".into(),
        unit: "app.service".into(),
        state: b'S',
        ..Process::default()
    }
}

fn busy(cpu_us: i64) -> Unit {
    Unit { cpu_us: Some(cpu_us as u64), main_pid: 10, ..running("app.service") }
}

#[test]
fn service_that_is_throttled_for_minutes_is_told_and_a_job_or_a_habit_is_not() {
    let throttled = |unit: Unit, share: f64| {
        host(40, move |n| {
            Seen::default().unit(unit.clone()).set(metric::UNIT_CPU_PERIODS, &unit.name, 100 * n).set(
                metric::UNIT_CPU_THROTTLED,
                &unit.name,
                (100.0 * share * n as f64) as i64,
            )
        })
    };
    check(&throttled(running("app.service"), 0.6), &["cpu_throttled app.service warning => "]);
    check(&throttled(running("app.service"), 0.2), &[]);
    check(&throttled(unit("backup.service", Active::Activating, "start"), 0.9), &[]);
    let mut usual = throttled(running("app.service"), 0.6);
    for minute in 0..800_i64 {
        let looks = (0..30).map(|n| {
            let at = minute * 6 + n;
            let seen = Seen::default().unit(running("app.service"));
            let seen = seen.set(metric::UNIT_CPU_PERIODS, "app.service", 100 * at);
            seen.set(metric::UNIT_CPU_THROTTLED, "app.service", 50 * at)
                .stored(at as u64 + 1, START.plus(at * 10_000))
        });
        let window = Window::new(looks.collect(), None);
        usual.state.entities.advance(&window, &BTreeSet::new());
    }
    check(&usual, &[]);
}

#[test]
fn service_at_its_own_limit_of_writing_is_told_without_an_offer() {
    let writes = |rate: i64| {
        host(40, move |n| {
            let unit = Unit {
                io_read_bytes: Some(0),
                io_write_bytes: Some((n * 10 * rate) as u64),
                ..running("app.service")
            };
            Seen::default().unit(unit).set(metric::UNIT_IO_WRITE_LIMIT, "app.service", 1 << 20)
        })
    };
    check(&writes(1 << 20), &["io_limited app.service warning => "]);
    check(&writes(1 << 19), &[]);
}

#[test]
fn open_files_near_their_limit_are_told_by_process_and_for_the_host() {
    let files = |process: Process, of: fn(i64) -> i64| {
        host(60, move |n| {
            let pid = process.pid.to_string();
            Seen::default()
                .unit(running("app.service"))
                .process(process.clone())
                .set(metric::TASK_FDS, "", 900)
                .set(metric::TASK_FDS, &pid, of(n))
                .set(metric::TASK_FDS_MAX, &pid, 1_024)
        })
    };
    check(
        &files(app(10), |n| 600 + n * 5),
        &["fd_exhaustion app.service warning => restart_service app.service"],
    );
    check(&files(app(10), |_| 1_000), &["fd_exhaustion app.service critical => restart_service app.service"]);
    // Half of it for ever is how a pool of connections looks.
    check(&files(app(10), |n| 600 + n % 3), &[]);
    let own = Process { unit: "session-3.scope".into(), user: "ann".into(), ..app(12) };
    check(
        &files(own, |_| 900),
        &["fd_exhaustion app[12] warning => kill_process app (pid 12, started at tick 77)"],
    );
    let ssh = Process { unit: "ssh.service".into(), user: "root".into(), ..app(13) };
    check(&files(ssh, |_| 900), &["fd_exhaustion ssh.service warning => "]);
    let table = |used: i64| {
        host(10, move |_| {
            Seen::default().set(metric::TASK_FDS, "", 5).set(metric::FD_USED, "", used).set(
                metric::FD_MAX,
                "",
                1_000,
            )
        })
    };
    check(&table(920), &["fd_exhaustion host critical => "]);
    check(&table(650), &[]);
}

#[test]
fn threads_that_leak_are_told_apart_from_a_bomb() {
    let tasks = |used: fn(i64) -> i64, refused: fn(i64) -> i64, forks: i64| {
        host(40, move |n| {
            Seen::default()
                .unit(running("app.service"))
                .set(metric::UNIT_PIDS, "app.service", used(n))
                .set(metric::UNIT_PIDS_MAX, "app.service", 200)
                .set(metric::UNIT_PIDS_REFUSED, "app.service", refused(n))
                .set(metric::PROCS_FORKED, "", n * 10 * forks)
        })
    };
    let leak = ["pid_exhaustion app.service warning => restart_service app.service"];
    check(&tasks(|n| 130 + n, |_| 0, 1), &leak);
    check(&tasks(|_| 150, |_| 0, 1), &[]);
    check(
        &tasks(|_| 199, |n| n * 30, 100),
        &["pid_exhaustion app.service critical => stop_service app.service"],
    );
    // Refused long ago, and calm since.
    check(&tasks(|_| 120, |_| 500, 1), &[]);
    let all = |used: i64| {
        host(5, move |_| {
            Seen::default().set(metric::THREADS_TOTAL, "", used).set(metric::PID_MAX, "", 32_768)
        })
    };
    check(&all(30_000), &["pid_exhaustion host critical => "]);
    check(&all(2_000), &[]);
}

#[test]
fn zombies_are_their_parents_trouble() {
    let left = |parent: Process, count: fn(i64) -> i64| {
        host(60, move |n| {
            let seen = Seen::default().unit(running("app.service")).process(parent.clone());
            let seen = seen.set(metric::TASKS_ZOMBIE, "", count(n));
            seen.set(metric::TASK_ZOMBIES, &parent.pid.to_string(), count(n))
        })
    };
    check(&left(app(10), |_| 500), &["zombies app.service warning => restart_service app.service"]);
    check(&left(app(10), |n| 20 + n), &["zombies app.service warning => restart_service app.service"]);
    // Some that stay, and many that came this moment.
    check(&left(app(10), |_| 60), &[]);
    check(&left(app(10), |n| if n > 57 { 500 } else { 0 }), &[]);
    let own = Process { unit: "".into(), user: "ann".into(), ..app(12) };
    check(&left(own, |_| 300), &["zombies app[12] warning => kill_process app (pid 12, started at tick 77)"]);
}

#[test]
fn stopped_main_process_is_a_hung_service_and_a_stuck_one_too() {
    let stopped = |cpu: i64, name: &'static str, ms: i64| {
        host(20, move |n| {
            let unit = Unit { name: name.into(), ..busy(n * cpu) };
            let process = Process { unit: name.into(), state: b'T', ..app(10) };
            let seen = Seen::default().unit(unit).process(process).set(metric::TASKS_ZOMBIE, "", 0);
            if n > 13 { seen.set(metric::TASK_STOPPED, "10", ms) } else { seen }
        })
    };
    check(
        &stopped(0, "app.service", 60_000),
        &["unit_hung app.service critical => restart_service app.service"],
    );
    check(&stopped(0, "app.service", 20_000), &[]);
    // A debugger lets it run between two looks; and nobody restarts the way in.
    check(&stopped(1_000_000, "app.service", 60_000), &[]);
    check(&stopped(0, "ssh.service", 60_000), &["unit_hung ssh.service critical => "]);
    let waits = |ms: i64, channel: &'static str| {
        host(20, move |_| {
            let process = Process { state: b'D', ..app(10) };
            let label = format!("10 {channel}");
            let seen = Seen::default().unit(busy(5)).process(process).set(metric::TASKS_ZOMBIE, "", 0);
            seen.set(metric::TASK_STUCK, &label, ms)
        })
    };
    let told = "stuck_process app.service critical > unit_hung app.service critical => ";
    check(&waits(130_000, "nfs_wait_bit_killable"), &[told]);
    assert_eq!(findings(&waits(130_000, "?"))[0].not_observed.len(), 1);
    check(&waits(70_000, "io_schedule"), &[]);
}

#[test]
fn deleted_files_and_overlapping_jobs_are_told() {
    let held = |bytes: i64| {
        host(10, move |_| {
            Seen::default()
                .unit(running("app.service"))
                .process(app(10))
                .fs("/var", 10.0)
                .set(metric::FS_DELETED_OPEN, "", bytes)
                .set(metric::FS_DELETED_OPEN, "/var", bytes)
                .set(metric::TASK_DELETED_OPEN, "10", bytes)
        })
    };
    check(&held(20 * GIB), &["deleted_open /var warning => restart_service app.service"]);
    check(&held(2 * GIB), &[]);
    let runs = |count: i64| {
        host(10, move |_| {
            let seen = Seen::default().set(metric::AGENT_SENSOR_FAILED, "jobs", 0);
            seen.set(metric::JOB_RUNS, "/opt/sync", count)
        })
    };
    check(&runs(4), &["timer_overlap /opt/sync warning => "]);
    check(&runs(3), &[]);
}

#[test]
fn three_restarts_in_an_hour_are_odd_for_a_service_that_never_does() {
    let mut input = every_10s((0..90).map(|n| {
        let restarts = [0, 10, 50, 85].iter().filter(|at| n > **at).count() as u32 - u32::from(n > 0);
        Seen::default().unit(Unit { restarts, ..running("app.service") })
    }));
    input.state.entities.advance(&input.window, &BTreeSet::new());
    let found = find(&input);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].category, found[0].severity), (Category::UnitFlapping, Severity::Warning));
    // A service that does so twice an hour on all days is as it always is.
    let mut usual = every_10s((0..3).map(|_| Seen::default().unit(running("app.service"))));
    for minute in 0..900_i64 {
        let looks = (0..7).map(|n| {
            let at = minute * 6 + n;
            let seen = Seen::default().unit(Unit { restarts: (at / 180) as u32, ..running("app.service") });
            seen.stored(at as u64 + 1, START.plus(at * 10_000))
        });
        usual.window = Window::new(looks.collect(), None);
        usual.state.entities.advance(&usual.window, &BTreeSet::new());
    }
    assert!(find(&usual).is_empty());
}

#[test]
fn what_ended_well_or_was_never_meant_to_run_has_not_failed() {
    let input = every_10s([Seen::default()
        .unit(unit("oneshot.service", Active::Inactive, "dead"))
        .unit(unit("skipped.service", Active::Inactive, "dead"))
        .unit(unit("done.service", Active::Active, "exited"))
        .unit(Unit { sub: "masked".into(), ..failed("masked.service", "exit-code") })
        .unit(unit("stopped.service", Active::Inactive, "dead"))]);
    assert!(find(&input).is_empty());
}

#[test]
fn host_that_shows_none_of_it_is_not_observed() {
    let input = host(30, |_| Seen::default().set(metric::LOAD_1, "", 5));
    assert!(findings(&input).is_empty());
    for detector in entity_lane() {
        assert!(!detector.inputs().is_empty());
        assert!(!detector.observes(&input, "x.service"), "{:?}", detector.category());
    }
    // Nothing at all is nothing.
    assert!(findings(&HostInput::default()).is_empty());
}
