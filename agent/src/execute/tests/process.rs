use std::process::{Child, Command};
use std::time::Duration;

use sysop_common::action::{ProcessRef, RunState};

use super::super::{process, procfs};
use crate::guard::Facts;

const GRACE: Duration = Duration::from_millis(300);

/// A process that is collected when this goes.
struct Running(Child);

impl Running {
    fn start(script: &str) -> Self {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        // Until the shell has set its traps.
        std::thread::sleep(Duration::from_millis(150));
        Self(child)
    }

    fn reference(&self) -> ProcessRef {
        let stat = procfs::stat(self.0.id()).unwrap();
        ProcessRef { pid: self.0.id(), start_ticks: stat.start_ticks, comm: stat.comm }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_ends_by_sigterm_or_else_by_sigkill() {
    for (script, word) in
        [("sleep 60; true", "SIGTERM"), ("trap '' TERM; while :; do sleep 0.05; done", "SIGKILL")]
    {
        let running = Running::start(script);
        let reference = running.reference();
        let ended = process::run(&reference, GRACE);
        assert_eq!(ended.state, RunState::Succeeded, "{}", ended.detail);
        assert!(ended.detail.ends_with(word), "{}", ended.detail);
        assert!(String::from_utf8(ended.output.kept).unwrap().contains("sent SIGTERM"));
        assert!(process::is_gone(&reference, Duration::ZERO).0);
    }
}

#[test]
fn another_process_under_the_same_number_gets_no_signal() {
    let mut running = Running::start("sleep 60; true");
    let real = running.reference();
    for wrong in [
        ProcessRef { start_ticks: real.start_ticks + 1, ..real.clone() },
        ProcessRef { comm: "other".into(), ..real.clone() },
    ] {
        assert_eq!(process::run(&wrong, GRACE).state, RunState::Failed);
    }
    assert!(running.0.try_wait().unwrap().is_none(), "it still runs");
    assert!(!process::is_gone(&real, Duration::ZERO).0);
    drop(running);
    assert!(matches!(process::look(&real), Facts::Unseen(_)));
    assert_eq!(process::run(&real, GRACE).state, RunState::Failed);
}

#[test]
fn this_process_its_ancestors_init_and_the_kernel_are_known_as_such() {
    let look = |pid: u32| {
        let stat = procfs::stat(pid).unwrap();
        match process::look(&ProcessRef { pid, start_ticks: stat.start_ticks, comm: stat.comm }) {
            Facts::Process(facts) => facts,
            other => panic!("{other:?}"),
        }
    };
    assert!(look(std::process::id()).ours);
    assert!(look(std::os::unix::process::parent_id()).ours || std::os::unix::process::parent_id() == 0);
    assert!(look(1).ours);
    let running = Running::start("sleep 60; true");
    let facts = look(running.0.id());
    assert!(!facts.ours && !facts.kernel && facts.pidfd);
    assert_eq!(facts.uids, [rustix::process::getuid().as_raw(); 4]);
}

#[test]
fn hostile_names_in_proc_are_data_only() {
    let line = "77 (a) R 1 (b\n2) S 5 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 1";
    let stat = procfs::parse_stat(line).unwrap();
    assert_eq!(
        (stat.comm.as_str(), stat.state, stat.parent, stat.start_ticks),
        ("a) R 1 (b\n2", 'S', 5, 4_242)
    );
    for torn in ["", "1 (", "1 (x)", "1 (x) S", ")(", "1 (x) S a b c"] {
        assert_eq!(procfs::parse_stat(torn), None, "{torn:?}");
    }
    assert_eq!(procfs::parse_uids("Name:\tx\\nUid:\t1\nUid:\t0\t1\t2\t3\n"), Some([0, 1, 2, 3]));
    assert_eq!(procfs::parse_uids("Uid:\t0\t1\n"), None);
    let v1 = "5:memory:/system.slice\n1:name=systemd:/system.slice/nginx.service\n0::/\n";
    assert_eq!(procfs::parse_units(v1), ["nginx.service"]);
    assert_eq!(procfs::parse_units("0::/system.slice/_cpu.service\n"), ["cpu.service"]);
    let nested = "0::/user.slice/user-0.slice/user@0.service/app.slice/x.service/inner\n";
    assert_eq!(procfs::parse_units(nested), ["user@0.service", "x.service"]);
    assert!(procfs::parse_units("0::/\n").is_empty());
}
