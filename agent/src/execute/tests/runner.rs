use std::time::{Duration, Instant};

use super::super::runner::{Invocation, Ran, RunError, Runner as _, SystemRunner};

fn run(program: &'static str, arguments: &[&str], timeout: Duration, keep: usize) -> Result<Ran, RunError> {
    let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    SystemRunner.run(&Invocation { program, arguments, timeout, keep })
}

fn sh(script: &str) -> String {
    let ran = run("sh", &["-c", script], Duration::from_secs(10), 10_000).unwrap();
    assert_eq!(ran.exit, Some(0), "{ran:?}");
    String::from_utf8(ran.output.kept).unwrap()
}

#[test]
fn executor_fixed_env_no_tty_fd_pinned_binaries() {
    let environment = sh("env");
    let mut names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)); // the shell's own
    names.sort_unstable();
    assert_eq!(names, ["LANG", "LC_ALL", "SYSTEMD_COLORS", "SYSTEMD_PAGER", "SYSTEMD_PAGERSECURE", "TERM"]);
    assert_eq!(sh("pwd; umask"), "/\n0077\n");
    assert_eq!(sh("readlink /proc/self/fd/0"), "/dev/null\n");
    assert!(sh("tty || true").contains("not a tty"));
    // A descriptor without the close-on-exec flag is open here; the child must not have it.
    let file = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    // The fourth is the directory that ls reads.
    let listed = run("ls", &["/proc/self/fd"], Duration::from_secs(10), 100).unwrap();
    assert_eq!(listed.output.kept, b"0\n1\n2\n3\n");
    drop(file);
    let stat = sh("cat /proc/$$/stat");
    let fields: Vec<_> = stat.split_whitespace().collect();
    assert_eq!(fields[0], fields[5], "a session of its own");
    assert!(matches!(run("no-such-program", &[], Duration::from_secs(1), 0), Err(RunError::NoProgram(_))));
}

#[test]
fn output_is_bounded_counted_and_digested_whole() {
    let ran = run("head", &["-c", "3000000", "/dev/zero"], Duration::from_secs(20), 100).unwrap();
    assert_eq!((ran.exit, ran.output.kept.len(), ran.output.total), (Some(0), 100, 3_000_000));
    assert_eq!(ran.output.digest.0, sysop_common::ids::sha256(&vec![0; 3_000_000]));
    assert_eq!(sh("echo out; echo err >&2; echo out"), "out\nerr\nout\n");
}

#[test]
fn exit_status_and_signals_are_told_apart() {
    let exit = |script| run("sh", &["-c", script], Duration::from_secs(10), 100).unwrap().exit;
    assert_eq!(exit("exit 7"), Some(7));
    assert_eq!(exit("kill -9 $$"), None);
}

#[test]
fn the_time_limit_ends_every_process_of_the_session() {
    let from = Instant::now();
    let script = "trap '' TERM; sleep 86399 & sleep 86399 & while :; do sleep 0.05; done";
    let ran = run("sh", &["-c", script], Duration::from_millis(300), 100).unwrap();
    assert!(ran.timed_out && ran.exit.is_none());
    assert!(from.elapsed() < Duration::from_secs(8), "{:?}", from.elapsed());
    assert!(!running("sleep\u{0}86399"));
}

#[test]
fn what_a_child_leaves_behind_does_not_hold_the_runner_up() {
    let from = Instant::now();
    let ran = run("sh", &["-c", "sleep 86398 & echo done"], Duration::from_secs(30), 100).unwrap();
    assert_eq!((ran.exit, ran.output.kept.as_slice()), (Some(0), &b"done\n"[..]));
    assert!(from.elapsed() < Duration::from_secs(10));
    assert!(!running("sleep\u{0}86398"));
}

/// Whether a process with these arguments runs (a process that ended and is not collected has none).
fn running(arguments: &str) -> bool {
    for _ in 0..50 {
        let found = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(arguments))
        });
        if !found {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
