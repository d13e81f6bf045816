//! A copy of the recorded host that a test may change.

use std::path::{Path, PathBuf};

use sysop_common::ids::Seq;
use sysop_common::metric;
use sysop_common::time::UnixMs;

use crate::sample::{Observation, Options, Roots, Sampler};

/// The copy, removed with this value.
pub(crate) struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixtures(), folder.path());
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots { cgroup: self.path("cgroup-v2"), ..Roots::below(self.folder.path()) }
    }

    pub(crate) fn sampler(&self) -> Sampler {
        Sampler::new(self.roots(), Options::default())
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes in place, as the kernel's files change: whoever holds the file open sees it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, text.replace(from, to));
    }

    /// Ends a process: its open files no longer answer.
    pub(crate) fn end(&self, pid: u32) {
        let folder = self.path(&format!("proc/{pid}"));
        for file in std::fs::read_dir(&folder).unwrap() {
            std::fs::write(file.unwrap().path(), "").unwrap();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample/tests/fixtures")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn look(sampler: &mut Sampler, seq: u64) -> Observation {
    sampler.tick(Seq(seq), UnixMs(1_764_000_000_000 + i64::try_from(seq).unwrap() * 1000))
}

/// The value of a column by name; panics when there is no such column.
pub(crate) fn value(seen: &Observation, name: &str, label: &str) -> i64 {
    let metric = metric::by_name(name).unwrap();
    let at = seen.schema.position(metric.id, label).unwrap_or_else(|| panic!("no column {name} {label:?}"));
    seen.tick.values[at]
}
