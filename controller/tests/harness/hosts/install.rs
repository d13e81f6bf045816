//! Puts the product on a host as its packages will: programs, units, users, folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::host::Host;

/// Folders of `packaging/` and where their files go on a host.
const FOLDERS: &[(&str, &str)] = &[
    ("systemd", "/usr/lib/systemd/system"),
    ("sysusers.d", "/usr/lib/sysusers.d"),
    ("tmpfiles.d", "/usr/lib/tmpfiles.d"),
];

impl Host {
    /// Installs the agent; nothing is enabled or started.
    pub fn install_agent(&self) -> Result<()> {
        self.install("sysop-agent", &["sysop-agent", "sysop-executor"])
    }

    /// Installs the controller; nothing is enabled or started.
    pub fn install_controller(&self) -> Result<()> {
        self.install("sysop-controller", &["sysop-controller"])
    }

    fn install(&self, program_name: &str, units: &[&str]) -> Result<()> {
        self.copy_in(&program(program_name)?, &format!("/usr/bin/{program_name}"), 0o755)?;
        for (folder, target) in FOLDERS {
            for file in files(&packaging().join(folder))? {
                let name =
                    file.file_name().and_then(|name| name.to_str()).context("a unit's name is not UTF-8")?;
                if units.iter().any(|unit| name.starts_with(&format!("{unit}."))) {
                    self.copy_in(&file, &format!("{target}/{name}"), 0o644)?;
                }
            }
        }
        self.check(&["systemd-sysusers"])?;
        self.check(&["systemd-tmpfiles", "--create"])?;
        self.check(&["systemctl", "daemon-reload"])?;
        Ok(())
    }
}

/// A program of this workspace, as the build that runs this test made it.
pub fn program(name: &str) -> Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let built = tests.ancestors().nth(2).context("the test does not lie in a target folder")?.join(name);
    ensure!(built.is_file(), "{} is missing: run `cargo build --workspace --all-targets`", built.display());
    Ok(built)
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}
