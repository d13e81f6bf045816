//! Files that are torn, empty, foreign or gone: the sensor fails alone, and comes back.

use sysop_common::sample::NOT_OBSERVED;

use super::host::{Host, look, value};

/// A file, the sensor that reads it, and a column that it gives.
const FILES: [(&str, &str, &str, &str); 13] = [
    ("proc/stat", "cpu", "cpu.user", ""),
    ("proc/meminfo", "memory", "memory.free", ""),
    ("proc/vmstat", "memory", "memory.free", ""),
    ("proc/loadavg", "load", "load.1", ""),
    ("proc/pressure/io", "pressure", "psi.cpu.some", ""),
    ("proc/diskstats", "disk", "disk.reads", "sda"),
    ("proc/1/mountinfo", "filesystem", "fs.read_only", "/"),
    ("proc/net/dev", "network", "net.rx_bytes", "eth0"),
    ("proc/net/snmp", "tcp", "tcp.retransmits", ""),
    ("proc/net/netstat", "tcp", "tcp.retransmits", ""),
    ("proc/sys/fs/file-nr", "kernel", "fd.used", ""),
    ("proc/uptime", "kernel", "fd.used", ""),
    ("proc/self/statm", "agent", "agent.rss", ""),
];

#[test]
fn foreign_file_fails_its_sensor_alone_and_only_while_it_is_foreign() {
    for (file, sensor, column, label) in FILES {
        let host = Host::new();
        let mut sampler = host.sampler();
        let before = look(&mut sampler, 1);
        let content = host.read(file);
        // Words where numbers were, in every line.
        let foreign: String = content.chars().map(|c| if c.is_ascii_digit() { 'x' } else { c }).collect();
        host.write(file, foreign);
        let during = look(&mut sampler, 2);
        let failed: Vec<&str> =
            sampler.status().iter().filter(|s| s.error.is_some()).map(|s| s.name).collect();
        assert_eq!(failed, [sensor], "{file}");
        let error = sampler.status().into_iter().find_map(|s| s.error).unwrap();
        assert!(error.contains(file.rsplit('/').next().unwrap()), "{error}");
        assert_eq!(value(&during, column, label), NOT_OBSERVED, "{file}");
        assert!(!during.schema_changed, "{file}");
        let flag = if sensor == "agent" { NOT_OBSERVED } else { 1 };
        if sensor != "agent" {
            assert_eq!(value(&during, "agent.sensor_failed", sensor), flag);
            let other = if sensor == "cpu" { "memory" } else { "cpu" };
            assert_eq!(value(&during, "agent.sensor_failed", other), 0);
        }
        host.write(file, content);
        let after = look(&mut sampler, 3);
        assert_eq!(value(&after, column, label), value(&before, column, label), "{file}");
        assert!(sampler.status().iter().all(|s| s.error.is_none()), "{file}");
    }
}

#[test]
fn file_torn_at_any_byte_never_harms_another_sensor() {
    let host = Host::new();
    for (file, sensor, ..) in FILES.into_iter().chain([
        ("proc/net/sockstat", "tcp", "", ""),
        ("proc/433/stat", "process", "", ""),
        ("proc/433/cgroup", "process", "", ""),
        ("proc/433/cmdline", "process", "", ""),
        ("etc/passwd", "process", "", ""),
    ]) {
        let content = host.read(file);
        let mut sampler = host.sampler();
        for (seq, end) in (1..).zip((0..content.len()).step_by(1 + content.len() / 40)) {
            host.write(file, &content.as_bytes()[..end]);
            let seen = look(&mut sampler, seq);
            assert_eq!(seen.schema.columns.len(), seen.tick.values.len());
            for status in sampler.status() {
                assert!(status.error.is_none() || status.name == sensor, "{file}: {status:?}");
            }
        }
        host.write(file, content);
    }
}

#[test]
fn host_without_optional_parts_has_no_failing_sensor() {
    let host = Host::new();
    for gone in ["proc/pressure", "proc/sys/net", "proc/1/mountinfo", "sys", "etc", "cgroup-v2"] {
        let path = host.path(gone);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }
    host.write("proc/self/mountinfo", "");
    let mut sampler = host.sampler();
    let seen = look(&mut sampler, 1);
    let errors: Vec<_> = sampler.status().into_iter().filter(|s| s.error.is_some()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(value(&seen, "psi.io.full", ""), NOT_OBSERVED);
    assert_eq!(value(&seen, "conntrack.used", ""), NOT_OBSERVED);
    assert!(seen.tick.processes[0].user.bytes().all(|b| b.is_ascii_digit()));
}

#[test]
fn host_that_is_not_there_fails_every_reader_and_no_more() {
    let host = Host::new();
    std::fs::remove_dir_all(host.path("proc")).unwrap();
    let mut sampler = host.sampler();
    let seen = look(&mut sampler, 1);
    assert_eq!(sampler.status().iter().filter(|s| s.error.is_some()).count(), 10);
    assert!(seen.tick.processes.is_empty() && seen.tick.units.is_empty());
}
