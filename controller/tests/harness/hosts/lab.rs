//! A lab: the namespaces, the bridge and the address range that some hosts share.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::host::Host;
use super::process::{self, run, wait_for};
use super::{cgroup, root};

/// First two bytes of every lab's range; the third is the lab's number.
const RANGE: (u8, u8) = (10, 207);

/// A bridge with hosts on it; ends with everything on it when dropped.
#[derive(Clone)]
pub struct Lab(Arc<Inner>);

pub(super) struct Inner {
    /// Closing it ends the namespaces.
    pipe: Option<ChildStdin>,
    keeper: Child,
    /// First process of the namespaces, as this machine numbers it.
    init: u32,
    number: u8,
    next: AtomicU8,
    base: PathBuf,
    mount: PathBuf,
}

impl Lab {
    /// A new lab without hosts; makes the shared root first if it is not cached.
    pub fn new() -> Result<Self> {
        let base = root::ensure()?;
        let mount = root::mount_point()?;
        cgroup::sweep();
        let mut keeper = process::command("unshare")?
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "private", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("could not start unshare")?;
        let pipe = keeper.stdin.take();
        let keeper_id = keeper.id();
        let init = wait_for("namespace", Duration::from_secs(5), || {
            Ok(children(keeper_id)?.into_iter().find(|child| command_name(*child) == "cat"))
        })?;
        let mut inner = Inner { pipe, keeper, init, number: 0, next: AtomicU8::new(10), base, mount };
        inner.within("mount", &["-t", "tmpfs", "-o", "mode=0755", "tmpfs", inner.path()?])?;
        inner.within("ip", &["link", "add", "bridge", "type", "bridge"])?;
        inner.within("ip", &["link", "set", "bridge", "up"])?;
        inner.number = inner.join()?;
        Ok(Self(Arc::new(inner)))
    }

    /// The address at which hosts reach this machine, and at which a controller should listen.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address(1)
    }

    /// Boots a host and waits until it is up.
    pub fn boot(&self, name: &str) -> Result<Host> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        Host::boot(Arc::clone(&self.0), name, self.0.address(number))
    }

    /// Boots several hosts at once.
    pub fn boot_all<const N: usize>(&self, names: [&str; N]) -> Result<[Host; N]> {
        let booted: Vec<Result<Host>> = std::thread::scope(|scope| {
            let threads = names.map(|name| scope.spawn(move || self.boot(name)));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("booting panicked"))))
                .collect()
        });
        let hosts = booted.into_iter().collect::<Result<Vec<Host>>>()?;
        hosts.try_into().ok().context("a host is missing")
    }
}

impl Inner {
    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(RANGE.0, RANGE.1, self.number, last)
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    fn path(&self) -> Result<&str> {
        self.mount.to_str().context("the cache's path is not UTF-8")
    }

    /// The lab's folder as paths inside the namespaces name it.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        self.mount.join(name)
    }

    /// The same folder as this process reaches it.
    pub(super) fn outside(&self, name: &str) -> PathBuf {
        let mount = self.mount.strip_prefix("/").unwrap_or(&self.mount);
        Path::new("/proc").join(self.init.to_string()).join("root").join(mount).join(name)
    }

    /// Arguments of `nsenter` that lead into the lab.
    pub(super) fn entrance(&self) -> [String; 4] {
        [format!("--target={}", self.init), "--mount".to_owned(), "--pid".to_owned(), "--net".to_owned()]
    }

    /// Runs a program inside the lab's namespaces.
    pub(super) fn within(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let program = process::find(program).with_context(|| format!("{program} is not installed"))?;
        let program = program.to_str().context("a program's path is not UTF-8")?;
        let entrance = self.entrance();
        let mut all: Vec<&str> = entrance.iter().map(String::as_str).collect();
        all.push(program);
        all.extend(arguments);
        run("nsenter", &all)
    }

    /// Connects the bridge to this machine under the first number that is free.
    fn join(&self) -> Result<u8> {
        let init = self.init.to_string();
        let mut last = None;
        for number in 0..=u8::MAX {
            let link = format!("sysoplab{number}");
            let created =
                run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "machine", "netns", &init]);
            if let Err(error) = created {
                last = Some(error);
                continue;
            }
            let address = format!("{}.{}.{number}.1/24", RANGE.0, RANGE.1);
            run("ip", &["address", "add", &address, "dev", &link])?;
            run("ip", &["link", "set", &link, "up"])?;
            self.within("ip", &["link", "set", "machine", "master", "bridge", "up"])?;
            return Ok(number);
        }
        bail!("no free number for a lab: {}", last.map_or_else(String::new, |error| format!("{error:#}")))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.keeper.wait();
    }
}

/// Ids of the child processes of `parent`.
pub(super) fn children(parent: u32) -> Result<Vec<u32>> {
    let listing = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(listing.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// The kernel's name of a process; empty when it is gone.
pub(super) fn command_name(id: u32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned()
}
