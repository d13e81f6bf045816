use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sysop_common::action::{RunState, TempRoot};

use super::super::open_files::InUse;
use super::super::temp::{Limits, look, run, sweep};
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
    let mapped = place.file("mapped", 5_000);
    let mapping = map(&mapped);
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
    assert_eq!(line(&ended, "kept, in use"), "kept, in use: 2");
    assert!(matches!(ended.evidence, Evidence::Seen { verified: true, .. }));
    drop((held, socket));
    // SAFETY: mapped above at this place and length, and used by nobody.
    unsafe { rustix::mm::munmap(mapping, 4_096) }.unwrap();
}

/// Maps a file and closes it.
fn map(path: &std::path::Path) -> *mut std::ffi::c_void {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let file = fs::File::open(path).unwrap();
    // SAFETY: a new private mapping, wherever the kernel puts it.
    unsafe { mmap(std::ptr::null_mut(), 4_096, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }.unwrap()
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

#[test]
fn cleanup_symlink_swap_race_never_leaves_the_directory() {
    let place = Place::new();
    let (outside, inside, link) =
        (place.dir.path().join("outside"), place.tmp("d"), place.dir.path().join("link"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&inside).unwrap();
    fs::write(outside.join("x"), "keep").unwrap();
    symlink(&outside, &link).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The directory and a link that leads out change places, as fast as can be.
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &inside, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        for _ in 0..30_000 {
            // Without the files in use, which take longer to list than all the rest.
            sweep(&place.tmp(""), &limits(), InUse::default(), deadline).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(outside.join("x")).unwrap(), "keep");
}

#[test]
fn another_mount_below_the_root_is_not_entered() {
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    // A mount space of this thread's own, which ends with it.
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            let place = Place::new();
            let outside = place.dir.path().join("outside");
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("x"), "keep").unwrap();
            fs::create_dir(place.tmp("bound")).unwrap();
            place.file("gone", 10);
            #[allow(deprecated)]
            if rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).is_err() {
                return false;
            }
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            if mount_bind(&outside, place.tmp("bound")).is_err() {
                return false;
            }
            // The same file system, so the device's number does not tell.
            let ended = place.run(limits());
            assert!(outside.join("x").exists() && !place.tmp("gone").exists());
            assert_eq!(line(&ended, "directories not entered"), "directories not entered: 1");
            unmount(place.tmp("bound"), UnmountFlags::DETACH).unwrap();
            true
        });
        if !tried.join().unwrap() {
            eprintln!("skipped: this machine lets nobody mount");
        }
    });
}
