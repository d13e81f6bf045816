//! Real processes and folders with an attacker's names, and what the real collector makes of them.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sysop_agent::sample::{Observation, Options, Roots, Sampler};
use sysop_common::ids::Seq;
use sysop_common::time::UnixMs;

/// Processes that wait, with texts for a name and for arguments, and one folder per text in the table of
/// mounts. All of it ends with this value.
pub(super) struct Place {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Place {
    pub(super) fn of(texts: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self { children: Vec::new(), folder };
        let (proc, names) = (place.path("proc"), place.path("names"));
        for path in [&proc.join("1"), &names] {
            std::fs::create_dir_all(path).unwrap();
        }
        symlink("/proc/stat", proc.join("stat")).unwrap();
        let mut mounts = String::new();
        for (at, text) in texts.iter().enumerate() {
            let named = |most: usize| -> String {
                let mut name = String::new();
                text.chars().take_while(|c| name_fits(&mut name, *c, most)).for_each(drop);
                name
            };
            let program = names.join(format!("{}~{at}", named(200)));
            symlink("/bin/sh", &program).unwrap();
            let mut command = Command::new(&program);
            command.arg0(text).args(["-c", "read -r line", text, text]).stdin(Stdio::piped());
            let child = command.spawn().unwrap();
            let pid = child.id().to_string();
            symlink(format!("/proc/{pid}"), proc.join(&pid)).unwrap();
            place.children.push(child);

            let mount = place.path("mnt").join(format!("{at}{}", named(80)));
            std::fs::create_dir_all(&mount).unwrap();
            let device = std::fs::metadata(&mount).unwrap().dev();
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            let escaped = escaped(&mount);
            // Subvolumes, so that folders of one file system count as mounts of their own.
            let _ = writeln!(
                mounts,
                "{} 1 {major}:{} / {escaped} rw - btrfs /dev/vd{at} rw",
                20 + at,
                minor as usize + at
            );
        }
        std::fs::write(proc.join("1/mountinfo"), mounts).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the agent's own sampler sees when it has seen all of them: who has only just started counts for
    /// nothing yet.
    pub(super) fn observe(&self) -> Observation {
        let roots = Roots { root: "/".into(), proc: self.path("proc"), ..Roots::default() };
        let pids = self.pids();
        for _ in 0..6_000 {
            let mut sampler = Sampler::only(roots.clone(), Options::default(), &["process", "filesystem"]);
            let seen = sampler.tick(Seq(1), UnixMs(0));
            if pids.iter().all(|pid| seen.tick.processes.iter().any(|process| process.pid == *pid)) {
                return seen;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the collector does not see each of {pids:?}");
    }

    /// Pids in the order of the texts.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Appends a character of a file's name, if it may stand there and there is room.
fn name_fits(name: &mut String, c: char, most: usize) -> bool {
    if name.len() + c.len_utf8() > most {
        return false;
    }
    if !matches!(c, '/' | '\0') {
        name.push(c);
    }
    true
}

/// As the kernel writes a path into the table of mounts.
fn escaped(path: &Path) -> String {
    let mut out = String::new();
    for c in path.to_str().unwrap().chars() {
        match c {
            ' ' | '\t' | '\n' | '\\' => {
                let _ = write!(out, "\\{:03o}", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out
}
