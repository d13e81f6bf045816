use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use sysop_common::action::{RunState, TempRoot};

use super::super::temp::{Limits, look, run};
use super::super::{Ended, Evidence};
use crate::guard::Facts;

/// A directory whose `tmp` is cleaned.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir }
    }

    fn tmp(&self, name: &str) -> PathBuf {
        self.dir.path().join("tmp").join(name)
    }

    fn file(&self, name: &str, bytes: usize) -> PathBuf {
        let path = self.tmp(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![1; bytes]).unwrap();
        path
    }

    fn run(&self, limits: Limits) -> Ended {
        run(&root(), self.dir.path(), &limits)
    }
}

fn root() -> TempRoot {
    "/tmp".parse().unwrap()
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Everything that exists by now is old enough: the time of change cannot be set back in a test.
fn limits() -> Limits {
    Limits { before_s: now_s() + 5, max_bytes: 1 << 30, time: Duration::from_secs(30), keep: 10_000 }
}

fn line(ended: &Ended, start: &str) -> String {
    let text = String::from_utf8(ended.output.kept.clone()).unwrap();
    text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
}

#[test]
fn plain_old_files_go_and_everything_else_stays() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::write(&outside, "keep").unwrap();
    let gone = [place.file("a", 5_000), place.file("deep/er/b", 10)];
    let open = place.file("open", 10);
    let held = fs::File::open(&open).unwrap();
    let twice = place.file("twice", 10);
    fs::hard_link(&twice, place.dir.path().join("second-name")).unwrap();
    symlink(&outside, place.tmp("link")).unwrap();
    symlink(place.dir.path(), place.tmp("way-out")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(place.tmp("socket")).unwrap();
    let service = place.file("systemd-private-1-nginx/tmp/x", 10);
    let ended = place.run(limits());
    assert_eq!(ended.state, RunState::Succeeded);
    assert!(gone.iter().all(|path| !path.exists()));
    for kept in
        [&open, &twice, &outside, &service, &place.tmp("link"), &place.tmp("socket"), &place.tmp("deep/er")]
    {
        assert!(kept.symlink_metadata().is_ok(), "{}", kept.display());
    }
    assert_eq!(line(&ended, "removed"), "removed: 2 files, 12288 bytes");
    assert_eq!(line(&ended, "kept, in use"), "kept, in use: 1");
    assert!(matches!(ended.evidence, Evidence::Seen { verified: true, .. }));
    drop((held, socket));
}

#[test]
fn age_is_that_of_modification_and_of_change() {
    let place = Place::new();
    let young = place.file("young", 10);
    let file = fs::File::options().write(true).open(&young).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    let ended = place.run(Limits { before_s: now_s() - 600, ..limits() });
    assert!(young.exists(), "its time of change tells that it is young");
    assert_eq!(line(&ended, "kept, too young"), "kept, too young: 1");
    assert!(matches!(ended.evidence, Evidence::Seen { verified: false, .. }));
}

#[test]
fn bytes_and_time_are_bounded() {
    let place = Place::new();
    for name in 0..10 {
        place.file(&format!("f{name}"), 4_096);
    }
    let ended = place.run(Limits { max_bytes: 10_000, ..limits() });
    assert_eq!(fs::read_dir(place.tmp("")).unwrap().count(), 8);
    assert!(ended.detail.contains("up to the allowed amount"), "{}", ended.detail);
    let ended = place.run(Limits { time: Duration::ZERO, ..limits() });
    assert_eq!(fs::read_dir(place.tmp("")).unwrap().count(), 8);
    assert!(ended.state == RunState::Failed || ended.detail.contains("time"), "{}", ended.detail);
}

#[test]
fn a_root_that_leads_elsewhere_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    fs::write(dir.path().join("elsewhere/x"), "keep").unwrap();
    symlink("elsewhere", dir.path().join("tmp")).unwrap();
    assert!(matches!(look(&root(), dir.path()), Facts::Unseen(_)));
    assert_eq!(run(&root(), dir.path(), &limits()).state, RunState::Failed);
    assert!(dir.path().join("elsewhere/x").exists());
    assert!(matches!(look(&root(), &dir.path().join("none")), Facts::Unseen(_)));
}

/// Swaps a directory for a link that leads out, and back, as fast as it can.
fn swap(dir: &Path, stop: &AtomicBool) {
    let (inside, aside, link) = (dir.join("tmp/d"), dir.join("tmp/aside"), dir.join("tmp/d"));
    while !stop.load(Ordering::Relaxed) {
        if fs::rename(&inside, &aside).is_ok() {
            let _ = symlink(dir.join("outside"), &link);
            let _ = fs::remove_file(&link);
            let _ = fs::rename(&aside, &inside);
        }
    }
}

#[test]
fn cleanup_symlink_swap_race_never_leaves_the_directory() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    for name in &names {
        fs::write(outside.join(name), "keep").unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(place.dir.path(), &stop));
        for _ in 0..60 {
            for name in &names {
                // Fails while the directory is swapped away.
                let _ = fs::create_dir(place.tmp("d"));
                if place.tmp("d").symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                    let path = place.tmp("aside").join(name);
                    let _ = fs::write(path, "go");
                }
            }
            place.run(limits());
        }
        stop.store(true, Ordering::Relaxed);
    });
    for name in &names {
        assert_eq!(fs::read_to_string(outside.join(name)).unwrap(), "keep");
    }
}
