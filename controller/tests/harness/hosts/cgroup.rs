//! A control group per host: two hosts in one group would end each other's units.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MOUNT: &str = "/sys/fs/cgroup";

/// Begins the name of every group that labs make.
const PREFIX: &str = "sysop-test-";

/// The groups of one host, one per hierarchy of this machine.
pub(super) struct Groups(Vec<PathBuf>);

impl Groups {
    /// Makes the groups of host `name` of lab `lab`, below this process's own groups.
    pub(super) fn create(lab: u8, name: &str) -> Result<Self> {
        let mut groups = Vec::new();
        for parent in own() {
            let group = parent.join(format!("{PREFIX}{}-{lab}-{name}", std::process::id()));
            std::fs::create_dir_all(&group)
                .with_context(|| format!("could not create {}", group.display()))?;
            // A cpuset without processors and memory takes no process.
            for setting in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read(parent.join(setting)) {
                    let _ = std::fs::write(group.join(setting), value);
                }
            }
            groups.push(group);
        }
        Ok(Self(groups))
    }

    /// The files to which a process writes its id to enter the groups.
    pub(super) fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|group| group.join("cgroup.procs"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.iter().for_each(|group| remove(group));
    }
}

/// Removes what labs that are gone left; a group that still has processes stays.
pub(super) fn sweep() {
    for parent in own() {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                remove(&entry.path());
            }
        }
    }
}

/// Removes a group and those below it, from the leaves up.
fn remove(group: &Path) {
    let Ok(entries) = std::fs::read_dir(group) else { return };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).for_each(|path| remove(&path));
    let _ = std::fs::remove_dir(group);
}

/// The groups that this process is in: one folder per mounted hierarchy.
fn own() -> Vec<PathBuf> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    memberships.lines().filter_map(folder).filter(|folder| folder.join("cgroup.procs").exists()).collect()
}

/// `4:memory:/a` is `/sys/fs/cgroup/memory/a`; `0::/a` is the unified tree, wherever it is mounted.
pub(super) fn folder(membership: &str) -> Option<PathBuf> {
    let mut fields = membership.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let hierarchy = match controllers.strip_prefix("name=").unwrap_or(controllers) {
        "" if Path::new(MOUNT).join("unified").exists() => "unified",
        other => other,
    };
    Some(Path::new(MOUNT).join(hierarchy).join(path.trim_start_matches('/')))
}
