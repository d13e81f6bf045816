//! Our agent as it runs on a host: enrolled at a controller of its own, over mutual TLS and QUIC, through
//! a relay that counts what both send.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::process::Watched;
use crate::shell::{capture, find, succeeds};

/// The target of the packages.
const MUSL: &str = "x86_64-unknown-linux-musl";
const AGENTS_PORT: u16 = 19_443;
const DASHBOARD_PORT: u16 = 19_080;
/// Headers of IP and UDP around each datagram.
const HEADERS: u64 = 28;
const START: Duration = Duration::from_secs(60);

/// The running agent and what it needs.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) agent: Watched,
    pub(crate) relay: Relay,
    /// Values in a sample.
    pub(crate) values: f64,
    /// Size of the program in bytes.
    pub(crate) size: u64,
    /// Whether it is built as the packages hold it.
    pub(crate) packaged: bool,
    _controller: Watched,
    _runtime: Runtime,
}

/// `/run` of the host, in memory as it is on every system: the status file lies there.
#[derive(Debug)]
struct Runtime(PathBuf);

impl Runtime {
    fn on_memory(host: &Path) -> Result<Self> {
        let runtime = Self(PathBuf::from(format!("/dev/shm/sysop-bench-{}", std::process::id())));
        fs::create_dir_all(&runtime.0)?;
        fs::create_dir_all(host)?;
        std::os::unix::fs::symlink(&runtime.0, host.join("run"))?;
        Ok(runtime)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Ours {
    /// Builds both programs, starts the controller, enrols and starts the agent.
    pub(crate) fn start(root: &Path, target: &Path, interval: Duration) -> Result<Self> {
        let (agent, packaged) = build_agent(root, target)?;
        // The controller's speed is not measured here, so the build of the tests will do for it.
        build(root, &["--package", "sysop-controller"])?;
        let controller = target.join("debug/sysop-controller");
        let folder = target.join("bench/agent");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("could not remove {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let every = format!("{}s", interval.as_secs());
        let settings = |command: &mut Command| {
            command.arg("--data-dir").arg(folder.join("controller"));
            command.args(["--port", &DASHBOARD_PORT.to_string()]);
            command.args(["--agents-listen", &format!("127.0.0.1:{AGENTS_PORT}")]);
            command.envs([("SYSOP_AGENTS_LOCAL", "off"), ("SYSOP_AGENTS_INTERVAL", &every)]);
        };
        let mut serve = Command::new(&controller);
        settings(&mut serve);
        let served = Watched::start("sysop-controller", &mut serve)?;
        wait_until_ready(&controller, settings)?;
        let relay = Relay::start(AGENTS_PORT)?;
        let host = folder.join("host");
        let runtime = Runtime::on_memory(&host)?;
        enroll(&agent, &controller, settings, &host, relay.address)?;
        let mut run = Command::new(&agent);
        run.arg("--root").arg(&host);
        for key in ["interval", "min_interval", "max_interval"] {
            run.arg("--set").arg(format!("sample.{key}={every}"));
        }
        let run = Watched::start("sysop-agent", run.arg("run"))?;
        let (values, size) = (values(&agent, &host)?, fs::metadata(&agent)?.len());
        Ok(Self { agent: run, relay, values, size, packaged, _controller: served, _runtime: runtime })
    }
}

/// Builds the agent as the packages hold it, where musl's C compiler and Rust's library for it are
/// installed, else as an ordinary release build; says which.
fn build_agent(root: &Path, target: &Path) -> Result<(PathBuf, bool)> {
    let library = capture(Command::new("rustc").args(["--print", "target-libdir", "--target", MUSL]))?;
    let packaged = library.is_ok_and(|path| Path::new(path.trim()).exists()) && find("musl-gcc").is_some();
    if packaged {
        build(root, &["--package", "sysop-agent", "--profile", "dist-agent", "--target", MUSL])?;
        return Ok((target.join(MUSL).join("dist-agent/sysop-agent"), true));
    }
    build(root, &["--package", "sysop-agent", "--release"])?;
    Ok((target.join("release/sysop-agent"), false))
}

fn build(root: &Path, arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if succeeds(cargo.current_dir(root).args(["build", "--locked"]).args(arguments))? {
        return Ok(());
    }
    bail!("the build failed; its reason stands above")
}

fn wait_until_ready(controller: &PathBuf, settings: impl Fn(&mut Command)) -> Result<()> {
    let mut last = String::new();
    for _ in 0..START.as_secs() * 2 {
        let mut check = Command::new(controller);
        settings(&mut check);
        match capture(check.arg("healthcheck"))? {
            Ok(_) => return Ok(()),
            Err(text) => last = text,
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("the controller did not become ready: {}", last.trim())
}

fn enroll(
    agent: &Path,
    controller: &Path,
    settings: impl Fn(&mut Command),
    host: &Path,
    address: SocketAddr,
) -> Result<()> {
    let mut create = Command::new(controller);
    settings(&mut create);
    let made = create.args(["enroll-token", "create"]).stdin(Stdio::null()).output()?;
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    let fingerprint = words.split_whitespace().find(|word| word.starts_with("sha256:"));
    let fingerprint = fingerprint.with_context(|| format!("no enrolment token: {words}"))?;
    let mut enroll = Command::new(agent);
    enroll.arg("--root").arg(host).args(["enroll", "--token-stdin", "--ca-fingerprint", fingerprint]);
    enroll.args(["--controller", &address.to_string()]);
    let mut child = enroll.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(&made.stdout)?;
    if !child.wait()?.success() {
        bail!("the agent did not enrol; its reason stands above");
    }
    Ok(())
}

/// Values in a sample: the columns; of a process its CPU, memory, I/O and state; of a unit its state and
/// six measures.
fn values(agent: &Path, host: &Path) -> Result<f64> {
    let mut sample = Command::new(agent);
    sample.arg("--root").arg(host).args(["sample", "--once", "--json"]);
    let text =
        capture(&mut sample)?.map_err(|text| anyhow::anyhow!("sysop-agent sample: {}", text.trim()))?;
    let seen: serde_json::Value = serde_json::from_str(&text)?;
    let count = |name: &str| seen[name].as_array().map_or(0, Vec::len);
    Ok((count("metrics") + 5 * count("processes") + 7 * count("units")) as f64)
}

/// Passes datagrams on and counts them, both ways.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    counted: Arc<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Counted {
    fn add(&self, length: usize) {
        self.bytes.fetch_add(length as u64 + HEADERS, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Relay {
    fn start(port: u16) -> Result<Self> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
        front.set_read_timeout(Some(Duration::from_secs(1)))?;
        let relay = Self { address: front.local_addr()?, counted: Arc::default() };
        let counted = Arc::clone(&relay.counted);
        std::thread::spawn(move || pass_up(&front, port, &counted));
        Ok(relay)
    }

    /// Bytes so far, IP and UDP headers included.
    pub(crate) fn bytes(&self) -> u64 {
        self.counted.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.counted.stop.store(true, Ordering::Relaxed);
    }
}

/// From whoever sends to `front`, one at a time, to the controller; answers go back on a thread for each.
fn pass_up(front: &Arc<UdpSocket>, port: u16, counted: &Arc<Counted>) -> Option<()> {
    let mut packet = [0; 65_536];
    let mut client: Option<(SocketAddr, Arc<UdpSocket>)> = None;
    while !counted.stopped() {
        let Ok((length, from)) = front.recv_from(&mut packet) else { continue };
        counted.add(length);
        let up = match &client {
            Some((address, up)) if *address == from => Arc::clone(up),
            _ => {
                let up = Arc::new(UdpSocket::bind("127.0.0.1:0").ok()?);
                up.connect(("127.0.0.1", port)).ok()?;
                up.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
                let (front, back, counted) = (Arc::clone(front), Arc::clone(&up), Arc::clone(counted));
                std::thread::spawn(move || pass_down(&front, &back, from, &counted));
                client = Some((from, Arc::clone(&up)));
                up
            }
        };
        let _ = up.send(&packet[..length]);
    }
    Some(())
}

fn pass_down(front: &UdpSocket, up: &UdpSocket, client: SocketAddr, counted: &Counted) {
    let mut packet = [0; 65_536];
    while !counted.stopped() {
        let Ok(length) = up.recv(&mut packet) else { continue };
        counted.add(length);
        let _ = front.send_to(&packet[..length], client);
    }
}
