//! What a recorded host must give, column by column, and what changes on it do.

use std::fmt::Write as _;
use std::sync::Arc;

use sysop_common::metric;
use sysop_common::sample::NOT_OBSERVED;

use super::host::{Host, look, value};
use crate::sample::Observation;

/// Columns whose values are of the machine that runs the test.
const LIVE: [&str; 4] = ["agent.cpu", "agent.sensor_time", "clock.offset", "clock.synced"];

fn listing(seen: &Observation) -> String {
    let mut out = String::new();
    for (column, value) in seen.schema.columns.iter().zip(&seen.tick.values) {
        let name = metric::by_id(column.metric).unwrap().name;
        let value = match *value {
            _ if LIVE.contains(&name) => "*".into(),
            NOT_OBSERVED => "-".into(),
            value => value.to_string(),
        };
        writeln!(out, "{name} [{}] {value}", column.label).unwrap();
    }
    out
}

#[test]
fn recorded_host_gives_the_recorded_columns() {
    let host = Host::new();
    let mut sampler = host.sampler();
    let seen = look(&mut sampler, 1);
    let expected = include_str!("fixtures/expected.txt");
    assert_eq!(listing(&seen), expected, "\n{}", listing(&seen));
    assert!(sampler.status().iter().all(|sensor| sensor.error.is_none()));
    seen.schema.validate().unwrap();
    assert_eq!(seen.schema.columns.len(), seen.tick.values.len());
}

#[test]
fn schema_is_the_same_object_until_a_disk_or_interface_comes_or_goes() {
    let host = Host::new();
    let mut sampler = host.sampler();
    let first = look(&mut sampler, 1);
    assert!(first.schema_changed);
    let second = look(&mut sampler, 2);
    assert!(!second.schema_changed);
    assert!(Arc::ptr_eq(&first.schema, &second.schema));

    host.write("sys/block/sdc/size", "1");
    let with_disk = host.read("proc/diskstats") + "   8      32 sdc 1 0 8 1 2 0 16 1 0 2 2\n";
    host.write("proc/diskstats", &with_disk);
    let third = look(&mut sampler, 3);
    assert!(third.schema_changed);
    assert_eq!(value(&third, "disk.write_bytes", "sdc"), 16 * 512);
    assert_eq!(value(&third, "disk.reads", "sda"), value(&first, "disk.reads", "sda"));

    host.replace("proc/net/dev", "   wg0:", "   wg1:");
    let fourth = look(&mut sampler, 4);
    assert!(fourth.schema_changed);
    assert_eq!(value(&fourth, "net.rx_bytes", "wg1"), 1906);
    assert_eq!(value(&fourth, "net.up", "wg1"), NOT_OBSERVED);
    assert!(fourth.schema.position(metric::NET_RX_BYTES, "wg0").is_none());
    assert_ne!(fourth.schema.id(), third.schema.id());

    host.write("proc/diskstats", with_disk.replace("sdc", "ram0"));
    assert!(look(&mut sampler, 5).schema_changed);
    assert!(!look(&mut sampler, 6).schema_changed);
}

#[test]
fn counters_travel_as_the_kernel_has_them() {
    let host = Host::new();
    let mut sampler = host.sampler();
    look(&mut sampler, 1);
    host.replace("proc/diskstats", "sda 64619 ", "sda 64700 ");
    host.replace("proc/stat", "ctxt 48203489", "ctxt 12");
    let seen = look(&mut sampler, 2);
    assert_eq!(value(&seen, "disk.reads", "sda"), 64700);
    assert_eq!(value(&seen, "kernel.context_switches", ""), 12);
}

#[test]
fn top_processes_have_owner_unit_and_arguments_without_secrets() {
    let host = Host::new();
    let seen = look(&mut host.sampler(), 1);
    let names: Vec<&str> = seen.tick.processes.iter().map(|p| p.comm.as_str()).collect();
    assert_eq!(names, ["my (worker)", "nginx", "systemd", "kthreadd"]);
    let worker = &seen.tick.processes[0];
    assert_eq!((worker.pid, worker.start_ticks, worker.threads, worker.state), (433, 1501, 7, b'R'));
    assert_eq!(worker.cpu_ms, 10_000);
    assert_eq!(worker.unit, "worker.service");
    assert_eq!(worker.args, "/opt/worker --token [redacted] --queue mail");
    assert_eq!((worker.io_read_bytes, worker.io_write_bytes), (None, None));
    let nginx = &seen.tick.processes[1];
    assert_eq!(nginx.unit, "nginx.service");
    assert_eq!((nginx.io_read_bytes, nginx.io_write_bytes), (Some(4096), Some(8192)));
    assert_eq!(nginx.rss_bytes, 9000 * rustix::param::page_size() as u64);
    assert!(!format!("{seen:?}").contains("canary"));
}

#[test]
fn processes_that_come_and_go_are_followed_by_forks() {
    let host = Host::new();
    let mut sampler = host.sampler();
    look(&mut sampler, 1);
    host.end(433);
    let seen = look(&mut sampler, 2);
    assert_eq!(value(&seen, "procs.total", ""), 3);
    assert!(seen.tick.processes.iter().all(|p| p.pid != 433));

    // The number is given to another process.
    let other = "433 (other) S 1 1 1 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 9000 1 10 0 1 1 0";
    host.write("proc/433/stat", other);
    host.write("proc/433/cmdline", "other\0");
    host.replace("proc/stat", "processes 3210", "processes 3211");
    let seen = look(&mut sampler, 3);
    let found = seen.tick.processes.iter().find(|p| p.pid == 433).unwrap();
    assert_eq!((found.comm.as_str(), found.start_ticks, found.cpu_ms), ("other", 9000, 100));
    assert_eq!(value(&seen, "procs.total", ""), 4);
}

#[test]
fn work_of_a_resting_process_is_found_in_the_same_look() {
    let host = Host::new();
    let mut sampler = host.sampler();
    for seq in 1..=30 {
        look(&mut sampler, seq);
    }
    // A second of CPU that nobody else did.
    for seq in 31..=36 {
        let ticks = 120 + (seq - 30) * 100;
        host.write(
            "proc/431/stat",
            host.read("proc/431/stat")
                .replace(&format!("0 0 0 {} 80 ", ticks - 100), &format!("0 0 0 {ticks} 80 ")),
        );
        let user = 5230 + (seq - 30) * 100;
        host.replace("proc/stat", &format!("cpu  {} ", user - 100), &format!("cpu  {user} "));
        let seen = look(&mut sampler, seq);
        assert_eq!(seen.tick.processes[0].pid, 431, "look {seq}");
        assert_eq!(seen.tick.processes[0].cpu_ms, (ticks + 80) * 10);
    }
}

#[test]
fn hidden_processes_leave_their_number_unobserved() {
    let host = Host::new();
    std::fs::remove_file(host.path("proc/1/stat")).unwrap();
    let seen = look(&mut host.sampler(), 1);
    assert_eq!(value(&seen, "procs.total", ""), NOT_OBSERVED);
    assert_eq!(seen.tick.processes.len(), 3);
}

#[test]
fn spool_is_shown_as_told() {
    let host = Host::new();
    let mut sampler = host.sampler();
    sampler.set_spool_bytes(4096);
    assert_eq!(value(&look(&mut sampler, 1), "agent.spool_bytes", ""), 4096);
}
