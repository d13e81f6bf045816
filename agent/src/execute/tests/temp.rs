use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sysop_common::action::{RunState, TempRoot};

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
            sweep(&place.tmp(""), &limits(), deadline).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(outside.join("x")).unwrap(), "keep");
}

#[test]
fn locks_that_servers_look_for_by_name_stay_although_nobody_has_them_open() {
    let place = Place::new();
    let marks =
        [".X0-lock", ".s.PGSQL.5432.lock", "db/mysql.sock.lock", "app.pid"].map(|n| place.file(n, 10));
    let plain = place.file("blockade", 10);
    place.run(limits());
    assert!(marks.iter().all(|mark| mark.exists()) && !plain.exists());
}

/// The capabilities of `sysop-executor.service`, for this thread alone.
fn as_the_unit_has_them() {
    use rustix::thread::{CapabilitySet as Set, CapabilitySets, set_capabilities};
    let some = Set::KILL | Set::DAC_OVERRIDE | Set::FOWNER | Set::LEASE;
    let sets = CapabilitySets { effective: some, permitted: some, inheritable: Set::empty() };
    set_capabilities(None, sets).unwrap();
}

#[test]
fn a_file_that_a_stranger_only_reads_stays_under_the_units_capabilities() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming another user needs root");
        return;
    }
    use std::os::unix::process::CommandExt as _;
    let place = Place::new();
    let (held, free) = (place.file("held", 10), place.file("free", 10));
    std::os::unix::fs::chown(&free, Some(65_534), None).unwrap();
    let file = fs::File::open(&held).unwrap();
    let mut stranger =
        std::process::Command::new("sleep").arg("60").stdin(file).uid(65_534).gid(65_534).spawn().unwrap();
    let ended = std::thread::scope(|scope| {
        let run = || {
            as_the_unit_has_them();
            place.run(limits())
        };
        scope.spawn(run).join().unwrap()
    });
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(held.exists() && !free.exists(), "{}", ended.detail);
    assert_eq!(line(&ended, "kept, in use"), "kept, in use: 1");
}

#[test]
fn nothing_goes_where_the_kernel_does_not_tell_what_is_in_use() {
    use rustix::thread::{CapabilitySet as Set, CapabilitySets, set_capabilities};
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: giving a file away needs root");
        return;
    }
    let place = Place::new();
    let foreign = place.file("foreign", 10);
    std::os::unix::fs::chown(&foreign, Some(65_534), None).unwrap();
    let ended = std::thread::scope(|scope| {
        let run = || {
            let some = Set::DAC_OVERRIDE | Set::FOWNER;
            let sets = CapabilitySets { effective: some, permitted: some, inheritable: Set::empty() };
            set_capabilities(None, sets).unwrap();
            place.run(limits())
        };
        scope.spawn(run).join().unwrap()
    });
    assert!(foreign.exists());
    assert_eq!(ended.state, RunState::Failed);
    assert!(ended.detail.contains("CAP_LEASE"), "{}", ended.detail);
}

#[test]
fn a_file_that_is_open_by_another_path_stays() {
    use rustix::mount::{UnmountFlags, mount_bind, unmount};
    let tried = in_a_mount_space(|| {
        let place = Place::new();
        let outside = place.dir.path().join("data");
        fs::create_dir(&outside).unwrap();
        let file = place.file("shared/file", 10);
        if mount_bind(place.tmp("shared"), &outside).is_err() {
            return false;
        }
        let held = fs::File::open(outside.join("file")).unwrap();
        place.run(limits());
        assert!(file.exists());
        drop(held);
        place.run(limits());
        assert!(!file.exists());
        unmount(&outside, UnmountFlags::DETACH).unwrap();
        true
    });
    if !tried {
        eprintln!("skipped: this machine lets nobody mount");
    }
}

/// Does `act` in a mount space of a thread's own, which ends with it; `false` where there can be none.
fn in_a_mount_space(act: impl FnOnce() -> bool + Send) -> bool {
    use rustix::mount::{MountPropagationFlags, mount_change};
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| {
            #[allow(deprecated)]
            if rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).is_err() {
                return false;
            }
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            act()
        });
        tried.join().unwrap()
    })
}

#[test]
fn another_mount_below_the_root_is_not_entered() {
    use rustix::mount::{UnmountFlags, mount_bind, unmount};
    let tried = in_a_mount_space(|| {
        let place = Place::new();
        let outside = place.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("x"), "keep").unwrap();
        fs::create_dir(place.tmp("bound")).unwrap();
        place.file("gone", 10);
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
    if !tried {
        eprintln!("skipped: this machine lets nobody mount");
    }
}
