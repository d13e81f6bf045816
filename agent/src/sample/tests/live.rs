//! The sampler on the host that runs the test.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sysop_common::sample::MAX_TEXT;

use super::host::{look, value};
use crate::sample::show::Pair;
use crate::sample::{Options, Roots, Sampler};

fn sampler() -> Sampler {
    Sampler::new(Roots::default(), Options::default())
}

#[test]
fn totals_agree_with_the_kernel() {
    let mut sampler = sampler();
    let seen = look(&mut sampler, 1);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: i64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(value(&seen, "memory.total", ""), kib * 1024);
    let root = rustix::fs::statvfs("/").unwrap();
    assert_eq!(value(&seen, "fs.total", "/"), (root.f_blocks * root.f_frsize).cast_signed());
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!((value(&seen, "host.uptime", "") - (seconds * 1000.0) as i64).abs() < 60_000);
    assert!(seen.tick.processes.iter().all(|p| p.args.len() <= MAX_TEXT && !p.user.is_empty()));
    let errors: Vec<_> = sampler.status().into_iter().filter(|s| s.error.is_some()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn process_that_works_is_at_the_top_without_its_secret() {
    let mut sampler = sampler();
    look(&mut sampler, 1);
    let mut child = Command::new("sh")
        .args([
            "-c",
            "i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); done",
            "x",
            "--password",
            "canary-1234",
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut seq = 1;
    let found = loop {
        std::thread::sleep(Duration::from_millis(200));
        seq += 1;
        let seen = look(&mut sampler, seq);
        let found = seen.tick.processes.into_iter().find(|p| p.pid == child.id() && p.cpu_ms > 0);
        if found.is_some() || Instant::now() > until {
            break found;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let found = found.unwrap();
    assert!(found.args.starts_with("sh -c") && !found.args.contains("canary"), "{}", found.args);
    let seen = look(&mut sampler, seq + 1);
    assert!(seen.tick.processes.iter().all(|p| p.pid != child.id()));
}

#[test]
fn pair_of_looks_is_shown_to_people_and_scripts() {
    let pair = Pair::take(&mut sampler(), Duration::from_millis(100));
    let text = pair.text();
    for part in ["cpu ", "memory ", "load ", "fs /", "PID", "Sensors: "] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(!text.contains("failed:"), "{text}");
    let json = pair.json();
    let metrics = json["metrics"].as_array().unwrap();
    let user = metrics.iter().find(|metric| metric["name"] == "cpu.user").unwrap();
    assert!(user["per_second"].as_f64().unwrap() >= 0.0);
    assert_eq!(user["kind"], "counter");
    assert!(!json["processes"].as_array().unwrap().is_empty());
}
