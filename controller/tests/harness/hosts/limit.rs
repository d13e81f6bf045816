//! Limits of a unit's control group, set from outside: a host on control groups of version 1 may not set its
//! own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cgroup;
use super::host::Host;

impl Host {
    /// Puts the processes of a unit into a group of `controller` with these settings, at the place where
    /// systemd would have made it. It ends with the host.
    pub fn limit(&self, unit: &str, controller: &str, settings: &[(&str, &str)]) -> Result<()> {
        let below = Path::new("system.slice").join(unit);
        let group = self.hierarchy(controller)?.join(&below);
        std::fs::create_dir_all(&group).with_context(|| format!("could not create {}", group.display()))?;
        for (setting, value) in settings {
            std::fs::write(group.join(setting), value).with_context(|| format!("{setting} of {unit}"))?;
        }
        let members = std::fs::read_to_string(self.hierarchy("systemd")?.join(&below).join("cgroup.procs"))?;
        for pid in members.lines() {
            std::fs::write(group.join("cgroup.procs"), pid)?;
        }
        Ok(())
    }

    /// The group of a hierarchy that is the host's whole tree.
    fn hierarchy(&self, controller: &str) -> Result<PathBuf> {
        let memberships = std::fs::read_to_string(format!("/proc/{}/cgroup", self.leader()?))?;
        let of = |line: &&str| line.split(':').nth(1).is_some_and(|found| found.ends_with(controller));
        let line = memberships.lines().find(of).with_context(|| format!("no hierarchy {controller}"))?;
        let mut folder = cgroup::folder(line).context("no such group")?;
        if folder.ends_with("init.scope") {
            folder.pop();
        }
        Ok(folder)
    }
}
