//! One booted host: run programs in it, write its files, cut its power.

use std::fs::{File, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cgroup::Groups;
use super::lab::{Inner, children, command_name};
use super::process::{self, Output, finish, run, wait_for};

/// A host must be up within this time.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// A program in a host is ended after this many seconds.
const RUN_LIMIT: &str = "120";

/// Enters the control groups given before `--`, then becomes the program after it.
const ENTER: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\"; shift; done; shift; exec \"$@\"";

/// A systemd host on a lab's bridge; its power is cut when it is dropped.
pub struct Host {
    // Dropped after the container and before the lab: an occupied group cannot be removed.
    container: Mutex<Child>,
    groups: Groups,
    lab: Arc<Inner>,
    name: String,
    address: Ipv4Addr,
}

impl Host {
    pub(super) fn boot(lab: Arc<Inner>, name: &str, address: Ipv4Addr) -> Result<Self> {
        if name.is_empty() || name.len() > 11 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("a test host's name has 1 to 11 letters and digits");
        }
        let groups = Groups::create(lab.number(), name)?;
        prepare(&lab, name, address)?;
        let container = Mutex::new(start(&lab, &groups, name)?);
        let host = Self { container, groups, lab, name: name.to_owned(), address };
        host.wait_until_up()?;
        Ok(host)
    }

    /// The host's name in its own eyes and in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's address on the lab's bridge.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs a program in the host as root and returns what it left, whatever its exit code.
    pub fn run(&self, command: &[&str]) -> Result<Output> {
        finish(&mut self.command(command)?, None)
    }

    /// Runs a program in the host as root with `input` on its standard input.
    pub fn feed(&self, command: &[&str], input: &[u8]) -> Result<Output> {
        finish(&mut self.command(command)?, Some(input))
    }

    /// Runs a program in the host that must succeed; returns its standard output, trimmed.
    pub fn check(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        if !output.success() {
            let (code, words) = (output.code, output.stderr.trim().to_owned() + output.stdout.trim());
            bail!("{} on {}: exit {code:?}: {words}", command.join(" "), self.name);
        }
        Ok(output.stdout.trim().to_owned())
    }

    /// A command that runs in the host as root; the caller starts it and minds its end.
    pub fn command(&self, command: &[&str]) -> Result<Command> {
        let mut entering = process::command("timeout")?;
        entering
            .args(["--kill-after=5", RUN_LIMIT, "nsenter"])
            .arg(format!("--target={}", self.leader()?))
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd=/"])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8");
        Ok(entering)
    }

    /// Copies a file of this machine into the host.
    pub fn copy_in(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("could not read {}", from.display()))?;
        self.write(to, &bytes, mode)
    }

    /// Writes a file in the host, its folders included, owned by root.
    ///
    /// The file is replaced, not rewritten, so that a program that is running can be exchanged.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let target = self.reach(path)?;
        let folder = target.parent().context("a file needs a folder")?;
        std::fs::create_dir_all(folder)?;
        let fresh = folder.join(".being-written");
        std::fs::write(&fresh, content)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(mode))?;
        std::fs::rename(&fresh, &target).with_context(|| format!("could not write {path} on {}", self.name))
    }

    /// Reads a file of the host.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        std::fs::read(self.reach(path)?).with_context(|| format!("could not read {path} on {}", self.name))
    }

    /// State of a unit as systemd names it: `active`, `failed`, `inactive`, …
    pub fn unit_state(&self, unit: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "is-active", unit])?.stdout.trim().to_owned())
    }

    /// Waits until a unit is in `state`.
    pub fn wait_for_unit(&self, unit: &str, state: &str, limit: Duration) -> Result<()> {
        wait_for(&format!("{unit} {state} on {}", self.name), limit, || {
            Ok((self.unit_state(unit)? == state).then_some(()))
        })
    }

    /// Ends everything in the host at once, as a power cut does; what it had written to files stays.
    pub fn power_off(&self) -> Result<()> {
        let mut container = self.container.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(leader) = leader(container.id()) {
            run("kill", &["-KILL", &leader.to_string()])?;
        }
        container.wait()?;
        Ok(())
    }

    /// Boots the host again after [`Host::power_off`].
    pub fn power_on(&self) -> Result<()> {
        *self.container.lock().unwrap_or_else(PoisonError::into_inner) =
            start(&self.lab, &self.groups, &self.name)?;
        self.wait_until_up()
    }

    /// Id on this machine of the host's first process.
    pub fn leader(&self) -> Result<u32> {
        leader(self.container.lock().unwrap_or_else(PoisonError::into_inner).id())
    }

    fn reach(&self, path: &str) -> Result<PathBuf> {
        let inside = path.strip_prefix('/').context("a path in a host is absolute")?;
        Ok(Path::new("/proc").join(self.leader()?.to_string()).join("root").join(inside))
    }

    fn wait_until_up(&self) -> Result<()> {
        wait_for(&format!("boot of {}", self.name), BOOT_LIMIT, || {
            let state = self.run(&["systemctl", "is-system-running"])?;
            Ok(matches!(state.stdout.trim(), "running" | "degraded").then_some(()))
        })
        .with_context(|| self.console())
    }

    /// The last lines of the host's console.
    fn console(&self) -> String {
        let log = std::fs::read_to_string(self.lab.outside(&self.name).join("console")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(journal) =
                self.check(&["journalctl", "--no-pager", "--lines=60", "--output=short-monotonic"])
        {
            eprintln!("--- journal of {} ---\n{journal}", self.name);
        }
        let _ = self.power_off();
    }
}

/// The host's own files over the shared root: name, machine id, address.
fn prepare(lab: &Inner, name: &str, address: Ipv4Addr) -> Result<()> {
    let folder = lab.outside(name);
    for part in ["upper", "work", "root"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let inside = lab.inside(name);
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lab.base().display(),
        inside.join("upper").display(),
        inside.join("work").display()
    );
    let target = inside.join("root");
    let target = target.to_str().context("the cache's path is not UTF-8")?;
    lab.within("mount", &["-t", "overlay", "overlay", "-o", &options, target])?;
    let etc = folder.join("root/etc");
    let [.., network, last] = address.octets();
    let machine = Ipv4Addr::new(address.octets()[0], address.octets()[1], network, 1);
    std::fs::write(etc.join("hostname"), format!("{name}\n"))?;
    std::fs::write(etc.join("machine-id"), format!("{:024x}{network:04x}{last:04x}\n", std::process::id()))?;
    std::fs::write(etc.join("host-address"), format!("ADDRESS={address}/24\n"))?;
    std::fs::write(
        etc.join("hosts"),
        format!("127.0.0.1 localhost\n{address} {name}\n{machine} controller\n"),
    )?;
    Ok(())
}

fn start(lab: &Inner, groups: &Groups, name: &str) -> Result<Child> {
    let console = File::create(lab.outside(name).join("console"))?;
    process::command("sh")?
        .args(["-c", ENTER, "sh"])
        .args(groups.doors())
        .args(["--", "nsenter"])
        .args(lab.entrance())
        .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"])
        .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--network-bridge=bridge"])
        // Reading the clock's state, which nspawn takes for setting it.
        .arg("--system-call-filter=adjtimex clock_adjtime")
        .arg(format!("--machine={name}"))
        .arg(format!("--directory={}", lab.inside(name).join("root").display()))
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .context("could not start systemd-nspawn")
}

/// The container's first process: nsenter forks nspawn, nspawn forks it.
fn leader(container: u32) -> Result<u32> {
    let leaders = children(container)?.into_iter().flat_map(|nspawn| children(nspawn).unwrap_or_default());
    leaders.into_iter().find(|id| command_name(*id) == "systemd").context("the host is not running")
}
