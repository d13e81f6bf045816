//! A controller of its own: a temporary data folder, free ports, everything gone afterwards.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::api::Api;
use super::hosts::{Output, program, wait_for};

/// It must serve within this time.
const START_LIMIT: Duration = Duration::from_secs(30);
/// It must end within this time.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// So much of its log is shown when a story fails.
const LOG_LINES: usize = 100;

/// A controller process, which ends with this value.
#[derive(Debug)]
pub struct Controller {
    folder: tempfile::TempDir,
    dashboard: SocketAddr,
    agents: SocketAddr,
    settings: Vec<(String, String)>,
    process: Option<Child>,
}

impl Controller {
    /// Starts one that agents reach at `agents`, and waits until it serves. `settings` are variables of
    /// its environment.
    pub fn start(agents: SocketAddr, settings: &[(&str, &str)]) -> Result<Self> {
        let mut controller = Self::prepare(agents, settings)?;
        controller.run()?;
        Ok(controller)
    }

    /// One that does not run yet, with everything but its ports as it is by default: its data is in
    /// `sysop-data` below the folder in which it is started.
    pub fn prepare(agents: SocketAddr, settings: &[(&str, &str)]) -> Result<Self> {
        let dashboard = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST)?));
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let folder = tempfile::tempdir()?;
        Ok(Self { folder, dashboard, agents, settings, process: None })
    }

    /// Starts the process with the data that is there, and waits until it serves.
    pub fn run(&mut self) -> Result<()> {
        self.launch()?;
        let api = self.visitor();
        wait_for("healthy controller", START_LIMIT, || {
            if let Some(status) = self.process.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the controller ended with {status}: {}", self.log());
            }
            Ok(api.ask("GET", "/api/health", &[], Vec::new()).is_ok_and(|a| a.status == 200).then_some(()))
        })
    }

    /// Starts the process and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the controller runs already");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().context("could not start the controller")?);
        Ok(())
    }

    /// Kills the process where it stands.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the controller does not run")?;
        process.kill()?;
        let status = process.wait()?;
        ensure!(status.signal() == Some(9), "the controller had ended by itself: {status}");
        Ok(())
    }

    /// Ends the process as Ctrl-C does; how long that took.
    pub fn stop(&mut self) -> Result<Duration> {
        let start = Instant::now();
        let mut process = self.process.take().context("the controller does not run")?;
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::INT)?;
        let status: ExitStatus =
            match wait_for("end of the controller", STOP_LIMIT, || Ok(process.try_wait()?)) {
                Ok(status) => status,
                Err(error) => {
                    let _ = process.kill();
                    let _ = process.wait();
                    return Err(error);
                }
            };
        ensure!(status.success(), "the controller ended with {status}");
        Ok(start.elapsed())
    }

    /// Runs a subcommand on this controller's data; without words it is the server itself.
    pub fn cli(&self, words: &[&str]) -> Result<Output> {
        let output = self.command()?.args(words).stdin(Stdio::null()).output()?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Makes a token on the command line and asks with it.
    pub fn api(&self, role: &str) -> Result<Api> {
        let made = self.cli(&["token", "create", "--name", &format!("story-{role}"), "--role", role])?;
        ensure!(made.success(), "no token: {}{}", made.stderr, made.stdout);
        let token = made.stdout.split_whitespace().last().context("the command printed no token")?;
        Ok(Api::new(self.url(), Some(token.to_owned())))
    }

    /// Somebody without a token.
    pub fn visitor(&self) -> Api {
        Api::new(self.url(), None)
    }

    /// Where the dashboard is.
    pub fn url(&self) -> String {
        format!("http://{}", self.dashboard)
    }

    /// Where the dashboard is, as an address.
    pub fn dashboard(&self) -> SocketAddr {
        self.dashboard
    }

    /// Where agents reach it.
    pub fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Folder in which it is started.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("sysop-data")
    }

    /// The last lines that it printed.
    pub fn log(&self) -> String {
        let whole = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = whole.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// All that it printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self) -> Result<Command> {
        let mut command = leashed(&program("sysop-controller")?);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.folder.path())
            .env("SYSOP_LISTEN", self.dashboard.to_string())
            .env("SYSOP_AGENTS_LISTEN", self.agents.to_string())
            .envs(self.settings.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A command whose process the kernel kills when the thread that started it ends, however that ends.
fn leashed(program: &Path) -> Command {
    if !Path::new("/usr/bin/setpriv").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A port of `address` that nobody had a moment ago, neither for TCP nor for UDP.
pub fn free_port(address: Ipv4Addr) -> Result<u16> {
    for _ in 0..50 {
        let port = TcpListener::bind((address, 0))?.local_addr()?.port();
        if UdpSocket::bind((address, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}
