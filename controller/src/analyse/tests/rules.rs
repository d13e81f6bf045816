use sysop_common::metric;
use sysop_common::sample::{Active, Process, Unit};
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use super::*;
use crate::analyse::input::FillHistory;
use crate::store::host_events::HostEvent;

fn nginx(looks: impl IntoIterator<Item = Unit>) -> HostInput {
    every_10s(looks.into_iter().map(|unit| Seen::default().unit(unit).unit(running("ssh.service"))))
}

#[test]
fn a_failed_unit_is_found_at_first_sight() {
    let input = nginx([running("nginx.service"), failed("nginx.service", "signal")]);
    check(
        &input,
        &[
            "unit_failed nginx.service critical 10..10 => restart_service* nginx.service, start_service* nginx.service",
        ],
    );
    let finding = &find(&input)[0];
    assert_eq!(finding.evidence[0].text, "nginx.service went from active to failed");
    assert_eq!(finding.cause, "its process was killed by a signal");
    // Also when it was failed before anyone looked; then the host's own clock tells since when.
    let since = Unit { since_ms: START.plus(-HOUR_MS).0, ..failed("nginx.service", "") };
    let input = nginx([since.clone(), since]);
    check(
        &input,
        &[
            "unit_failed nginx.service critical -3600..10 => restart_service* nginx.service, start_service* nginx.service",
        ],
    );
    assert_eq!(
        find(&input)[0].not_observed,
        ["unit.result of nginx.service (its log may tell why it failed)"]
    );
}

#[test]
fn what_ended_well_was_stopped_or_waits_for_its_restart_is_no_failure() {
    for (active, sub, result) in [
        (Active::Inactive, "dead", "success"),
        (Active::Active, "exited", "success"),
        (Active::Inactive, "dead", "exec-condition"),
        (Active::Activating, "auto-restart", "exit-code"),
        (Active::Deactivating, "stop-sigterm", "success"),
        (Active::Failed, "masked", "exit-code"),
    ] {
        let after = Unit { result: result.into(), ..unit("job.service", active, sub) };
        check(&nginx([running("job.service"), after]), &[]);
    }
}

#[test]
fn a_database_is_started_rather_than_restarted_and_odd_names_get_no_offer() {
    check(
        &nginx([failed("mysql.service", "signal")]),
        &[
            "unit_failed mysql.service critical 0..0 => start_service* mysql.service, restart_service* mysql.service",
        ],
    );
    check(&nginx([failed("a\\x2d.service", "signal")]), &["unit_failed a\\x2d.service critical 0..0 => "]);
}

#[test]
fn three_restarts_in_ten_minutes_are_a_loop_and_two_are_not() {
    let at = |restarts| Unit { restarts, ..unit("web.service", Active::Activating, "auto-restart") };
    check(&nginx([at(5), at(6), at(6), at(7)]), &[]);
    check(
        &nginx([at(5), at(6), at(6), at(8), at(8)]),
        &["unit_flapping web.service critical 10..30 => stop_service web.service"],
    );
    // A start by hand resets the counter: what fell is no restart.
    check(&nginx([at(90), at(0), at(1)]), &[]);
    // An open one goes on with every further restart.
    let mut open = nginx([at(5), at(6)]);
    open.open.insert("unit_flapping:web.service".into());
    check(&open, &["unit_flapping web.service critical 10..10 => stop_service web.service"]);
}

#[test]
fn a_loop_that_ends_in_failure_is_one_trouble_and_no_restart_is_offered() {
    let at = |restarts| Unit { restarts, ..unit("web.service", Active::Activating, "auto-restart") };
    let over = Unit { restarts: 4, ..failed("web.service", "start-limit-hit") };
    check(
        &nginx([at(1), at(2), at(3), at(4), over]),
        &[
            "unit_flapping web.service critical 10..30 > unit_failed web.service critical 40..40 => stop_service web.service",
        ],
    );
}

/// A unit with so many MiB of anonymous memory and kills.
fn holding(name: &str, mib: u64, kills: u64) -> Unit {
    Unit { anon_bytes: Some(mib << 20), oom_kills: Some(kills), ..running(name) }
}

fn memory(looks: impl IntoIterator<Item = (i64, i64, Vec<Unit>)>) -> HostInput {
    every_10s(looks.into_iter().map(|(kills, anon_mib, units)| {
        let seen = Seen::default().set(metric::MEMORY_OOM_KILLS, "", kills).set(
            metric::MEMORY_ANON,
            "",
            if anon_mib == MISSING { MISSING } else { anon_mib << 20 },
        );
        units.into_iter().fold(seen, Seen::unit)
    }))
}

#[test]
fn a_kill_names_its_victim_and_who_grew() {
    let units = |web, app, kills| vec![holding("app.service", app, kills), holding("web.service", web, 0)];
    check(
        &memory([
            (3, 500, units(100, 100, 0)),
            (3, 1_500, units(120, 1_080, 0)),
            (4, 500, units(120, 10, 1)),
        ]),
        &["oom_kill app.service critical 20..20 by app.service 98 % => restart_service app.service"],
    );
    // The one who grew need not be the one who was killed.
    let units = |web, app, kills| vec![holding("app.service", app, 0), holding("web.service", web, kills)];
    check(
        &memory([
            (0, 500, units(100, 100, 0)),
            (0, 1_500, units(110, 1_000, 0)),
            (1, 500, units(5, 1_000, 1)),
        ]),
        &["oom_kill web.service critical 20..20 by app.service 90 % => restart_service app.service"],
    );
    // Two that grew alike: nobody is named, and nothing is offered.
    check(
        &memory([(0, 500, units(100, 100, 0)), (0, 1_500, units(600, 600, 0)), (1, 500, units(5, 600, 1))]),
        &["oom_kill web.service critical 20..20 by nobody => "],
    );
}

#[test]
fn old_kills_reboots_and_missing_inputs_are_told_apart() {
    let units = |kills| vec![holding("app.service", 10, kills)];
    // Counters that stand, however high.
    check(&memory([(7, 500, units(7)), (7, 500, units(7))]), &[]);
    // A reboot starts them anew.
    let mut looks = [
        Seen::default().set(metric::MEMORY_OOM_KILLS, "", 9),
        Seen::default().set(metric::MEMORY_OOM_KILLS, "", 10),
    ];
    looks[1].boot = 1;
    check(&every_10s(looks), &[]);
    // Only the host's own counter is there.
    let input = memory([(0, MISSING, vec![]), (0, MISSING, vec![]), (2, MISSING, vec![])]);
    check(&input, &["oom_kill host critical 20..20 => "]);
    let missing = &find(&input)[0].not_observed;
    assert_eq!(missing, &["unit of the killed process", "memory.anon"]);
    // A unit's result tells what its removed group cannot.
    let mut killed = failed("app.service", "oom-kill");
    killed.oom_kills = None;
    check(
        &memory([(0, 500, units(0)), (1, 500, vec![killed])]),
        &["oom_kill app.service critical 10..10 > unit_failed app.service critical 10..10 \
           => restart_service* app.service, start_service* app.service"],
    );
}

#[test]
fn a_flip_to_read_only_is_found_and_what_always_was_so_is_not() {
    let at = |flag| Seen::default().fs("/data", 50.0).set(metric::FS_READ_ONLY, "/data", flag);
    check(&every_10s([at(1), at(1)]), &[]);
    check(&every_10s([at(0), at(1), at(1)]), &["fs_read_only /data critical 10..20 => "]);
    check(&every_10s([at(0), at(MISSING)]), &[]);
    // The flip was while nobody looked: remembered from before.
    let mut input = every_10s([at(1), at(1)]);
    input.state.memory.writable.insert("/data".into(), START.plus(-2 * HOUR_MS).0);
    check(&input, &["fs_read_only /data critical 0..10 => "]);
    // For a day and an hour: that is how it is meant to be.
    input.state.memory.writable.insert("/data".into(), START.plus(-26 * HOUR_MS).0);
    check(&input, &[]);
    let remembered = every_10s([at(0)]);
    assert_eq!(remembered.state.memory.after(&remembered.window).writable.len(), 1);
}

#[test]
fn below_the_floor_is_trouble_whatever_the_slope() {
    for (left, expected) in [
        (2.9, &["disk_fill /data critical 0..50 => "][..]),
        (4.9, &["disk_fill /data warning 0..50 => "]),
        (5.1, &[]),
    ] {
        check(&every_10s((0..6).map(|_| Seen::default().fs("/data", left))), expected);
    }
    // Hysteresis: an open one ends above 8 %.
    for (left, found) in [(7.9, 1), (8.1, 0)] {
        let mut input = every_10s((0..6).map(|_| Seen::default().fs("/data", left)));
        input.open.insert("disk_fill:/data".into());
        assert_eq!(find(&input).len(), found, "{left}");
    }
    let inodes = Seen::default().fs("/data", 50.0).set(metric::FS_INODES_TOTAL, "/data", 1_000_000).set(
        metric::FS_INODES_FREE,
        "/data",
        20_000,
    );
    check(&every_10s([inodes.clone(), inodes.clone()]), &["inode_fill /data critical 0..10 => "]);
    // No inodes to run out of, and a file system that nobody can write to anyway.
    let none = Seen::default().fs("/data", 50.0).set(metric::FS_INODES_TOTAL, "/data", 0).set(
        metric::FS_INODES_FREE,
        "/data",
        0,
    );
    check(&every_10s([none]), &[]);
    check(&every_10s([Seen::default().fs("/snap", 0.0).set(metric::FS_READ_ONLY, "/snap", 1)]), &[]);
}

#[test]
fn a_fast_fill_is_forecast_and_its_writer_named() {
    let look = |n: u64| {
        let burn = Process {
            pid: 77,
            start_ticks: 5,
            comm: "dd".into(),
            user: "joe".into(),
            io_write_bytes: Some((n * 200) << 20),
            ..Process::default()
        };
        let quiet = Unit { io_write_bytes: Some(n << 10), ..running("web.service") };
        Seen::default().fs("/tmp", 18.0 - n as f64 * 0.2).unit(quiet).process(burn)
    };
    // 0.2 GiB in 10 s: the rest is gone in a quarter of an hour.
    let input = every_10s((0..30).map(look));
    check(
        &input,
        &[
            "disk_fill /tmp critical 290..290 by dd 98 % => cleanup_temp_files* /tmp, cleanup_temp_files /tmp, \
           kill_process dd (pid 77, started at tick 5)",
        ],
    );
    // The copy ended: what grew before is no forecast.
    let ended = every_10s((0..30).map(|n| look(n.min(12))));
    check(&ended, &[]);
    // With 40 % left it is not looked at in this short window.
    let plenty = every_10s((0..30).map(|n| Seen::default().fs("/", 40.0 - n as f64 * 0.2)));
    check(&plenty, &[]);
}

fn history(points: impl Iterator<Item = (i64, f64)>) -> Vec<(UnixMs, f64)> {
    points.map(|(minutes_ago, used)| (START.plus(-minutes_ago * MINUTE_MS), used * GIB as f64)).collect()
}

#[test]
fn a_slow_fill_is_forecast_from_its_history_unless_a_cleaner_is_due() {
    let now = || every_10s((0..3).map(|_| Seen::default().fs("/srv", 30.0)));
    // 2 GiB per hour: full in 15 h.
    let mut input = now();
    let rising = history((0..360).rev().map(|m| (m, 70.0 - m as f64 / 30.0)));
    input.fills.insert("/srv".into(), FillHistory { bytes_6h: rising, ..FillHistory::default() });
    check(&input, &["disk_fill /srv warning 20..20 => "]);
    assert!(find(&input)[0].evidence[1].text.contains("full in 1"), "{:?}", find(&input)[0].evidence[1]);
    // Without a history the floor is all there is.
    check(&now(), &[]);
    // The same slope as the tooth of a saw that is cleaned every 8 h.
    let saw = |hours_ago: i64| 70.0 - 16.0 + 2.0 * ((4 + 72 - hours_ago) % 8) as f64;
    let mut input = now();
    let rising = history((0..240).rev().map(|m| (m, 70.0 - m as f64 / 30.0)));
    let teeth = history((1..72).rev().map(|h| (h * 60, saw(h))));
    input
        .fills
        .insert("/srv".into(), FillHistory { bytes_6h: rising, bytes_3d: teeth, ..FillHistory::default() });
    check(&input, &[]);
}

#[test]
fn a_full_disk_explains_failed_units_and_only_its_own_mending_is_offered() {
    let look = |left: i64, unit: Unit| Seen::default().fs_of("/", 100 * GIB, left).unit(unit);
    check(
        &every_10s([look(GIB, running("db.service")), look(4_096, failed("db.service", "exit-code"))]),
        &["disk_fill / critical 0..10 > unit_failed db.service critical 10..10 \
           => cleanup_temp_files /tmp, cleanup_temp_files /var/tmp"],
    );
    // Merely almost full is no reason to fail.
    check(
        &every_10s([look(4 * GIB, running("db.service")), look(4 * GIB, failed("db.service", "exit-code"))]),
        &[
            "disk_fill / warning 0..10 => cleanup_temp_files /tmp, cleanup_temp_files /var/tmp",
            "unit_failed db.service critical 10..10 => start_service* db.service, restart_service* db.service",
        ]
        .map(|line| if line.starts_with("unit") { "unit_failed db.service critical 10..10 => restart_service* db.service, start_service* db.service" } else { line }),
    );
}

#[test]
fn an_empty_list_of_units_tells_nothing_and_a_clone_is_told() {
    let input = every_10s([Seen::default()]);
    check(&input, &[]);
    for detector in hard_lane() {
        assert!(!detector.inputs().is_empty());
        let word = detector.category().word();
        assert_eq!(detector.observes(&input, "x"), word == "agent_clone", "{word}");
    }
    let mut input = every_10s([Seen::default()]);
    let event = |s: i64| HostEvent {
        at: START.plus(s * 1_000),
        kind: "agent_clone".into(),
        detail: "second live agent from 192.0.2.7:4000".into(),
    };
    input.events = vec![event(1), event(61)];
    check(&input, &["agent_clone agent critical 1..61 => "]);
}
