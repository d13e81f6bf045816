//! Commands: what they are called, what they take, and which function does the work.

mod enroll;
mod output;
mod show;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, DEFAULT_FILE, Layers, Log, SAMPLE};
use crate::executor;
use crate::guard::Policy;
use crate::guard::owned::{self, OwnedError, Reach};
use crate::run::notify::Notifier;
use crate::sample::{Sampler, show::Pair};
use output::{Failure, say};

/// Where the executor's journal is.
const EXECUTOR_STATE: &str = "/var/lib/sysop-executor";

/// Most bytes of a settings file that the executor reads.
const MAX_SETTINGS: usize = 1 << 20;

/// The light agent of Smart System Operator.
#[derive(Debug, Parser)]
#[command(name = "sysop-agent", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Settings file [default: /etc/sysop/agent.toml].
    #[arg(long, global = true, value_name = "FILE", env = "SYSOP_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// Take every path of the agent's own files below this directory.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Set one setting, as it stands in the settings file; may be given more than once.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect and send: what the service sysop-agent runs.
    Run,
    /// Carry orders out: what the service sysop-executor runs, as root, on demand.
    Execute(Execute),
    /// Take this host in: makes its key here and asks the controller for a certificate.
    Enroll(enroll::Enroll),
    /// Forget this host's identity and what waits in its spool.
    Unenroll,
    /// Show how the running agent is.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at this host and show what was seen.
    Sample {
        /// Look once (two looks, a second apart, so that rates can be told).
        #[arg(long)]
        once: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at what the owner allows.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Args)]
struct Execute {
    /// Listen here instead of on the socket that systemd passes.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where the journal is.
    #[arg(long, value_name = "DIR", default_value = EXECUTOR_STATE)]
    state: PathBuf,
    /// Put a new journal in place of one that is missing or broken: orders made before may have run and
    /// are refused from now on.
    #[arg(long, conflicts_with = "socket")]
    reset: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum PolicyCommand {
    /// Check the policy file as the executor does: content, owner, mode.
    Check,
    /// Show what it allows.
    Show,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum ConfigCommand {
    /// Print the settings file with all settings documented.
    Sample,
    /// Check the settings, from flags, environment and file.
    Check,
}

impl Cli {
    /// Whether the command serves until it is told to stop, and so logs as the settings say.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self.command, Command::Run | Command::Execute(Execute { reset: false, .. }))
    }

    /// The settings of log lines. Settings that are wrong are reported by [`Cli::run`].
    #[must_use]
    pub fn log(&self) -> Log {
        self.settings().map(|config| config.log).unwrap_or_default()
    }

    /// Does what was asked for.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.act() {
            Ok(code) => code,
            Err(failure) => failure.report(),
        }
    }

    fn act(&self) -> Result<ExitCode, Failure> {
        match &self.command {
            Command::Run => {
                let config = self.settings()?;
                run_until_signal(|stop| crate::run::run_notifying(config, Notifier::from_environment(), stop))
            }
            Command::Execute(execute) if execute.reset => {
                must_be_root(self.root.as_deref())?;
                self.guarded_settings()?;
                executor::reset(&self.executor_paths(&execute.state)?).map_err(Failure::of)?;
                say("The journal is new. Orders made before now are refused.")
            }
            Command::Execute(execute) => {
                self.guarded_settings()?;
                let paths = self.executor_paths(&execute.state)?;
                let options = executor::Options::new(paths, execute.socket.clone());
                block_on(executor::serve(options))
            }
            Command::Enroll(enroll) => enroll.act(self),
            Command::Unenroll => enroll::unenroll(&self.settings()?),
            Command::Status { json } => show::status(&self.settings()?, *json),
            Command::Sample { json, .. } => {
                let config = self.settings()?;
                let mut sampler = Sampler::new(crate::run::roots(&config), crate::run::look(&config));
                let pair = Pair::take(&mut sampler, std::time::Duration::from_secs(1));
                say(&if *json { pair.json().to_string() } else { pair.text() })
            }
            Command::Policy { command: PolicyCommand::Check } => {
                let path = self.settings()?.paths.policy;
                Policy::load_guarded(&path).map_err(Failure::of)?;
                say(&format!("{} is good.", path.display()))
            }
            Command::Policy { command: PolicyCommand::Show } => show::policy(&self.settings()?),
            Command::Config { command: ConfigCommand::Sample } => say(SAMPLE.trim_end()),
            Command::Config { command: ConfigCommand::Check } => {
                let config = self.settings()?;
                let text = toml::to_string(&config).map_err(Failure::of)?;
                say(&format!("The settings are good. In force:\n\n{}", text.trim_end()))
            }
        }
    }

    /// The settings file that is read or written.
    fn config_file(&self) -> PathBuf {
        let below = |root: &PathBuf| root.join(DEFAULT_FILE.trim_start_matches('/'));
        self.config.clone().or_else(|| self.root.as_ref().map(below)).unwrap_or_else(|| DEFAULT_FILE.into())
    }

    fn settings(&self) -> Result<Config, Failure> {
        let pairs = self.settings.iter().map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            None => Err(Failure::new(format!("--set {pair}: write KEY=VALUE, such as sample.interval=5s"))),
        });
        let file = self.config.clone().or_else(|| {
            let file = self.config_file();
            file.exists().then_some(file)
        });
        let layers = Layers::of_process(file, pairs.collect::<Result<_, _>>()?);
        let mut config = layers.load().map_err(Failure::of)?;
        if let Some(root) = &self.root {
            config.paths = config.paths.below(root);
        }
        Ok(config)
    }

    /// Refuses a settings file that others may write: it says where policy and trust are.
    fn guarded_settings(&self) -> Result<(), Failure> {
        match owned::read(&self.config_file(), MAX_SETTINGS, Reach::Path) {
            Ok(_) => Ok(()),
            Err(OwnedError::Missing(_)) if self.config.is_none() => Ok(()),
            Err(e) => Err(Failure::new(format!("settings are not used: {e}"))),
        }
    }

    fn executor_paths(&self, state: &Path) -> Result<executor::Paths, Failure> {
        let paths = self.settings()?.paths;
        let below = |root: &PathBuf| root.join(state.strip_prefix("/").unwrap_or(state));
        let state = self.root.as_ref().map_or(state.to_owned(), below);
        Ok(executor::Paths { policy: paths.policy, trust: paths.trust, state })
    }
}

/// Runs an asynchronous command on one thread.
fn block_on<E: std::fmt::Display>(future: impl Future<Output = Result<(), E>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(1 << 20)
        .build()
        .map_err(|e| Failure::new(format!("the runtime cannot start: {e}; raise the limit of processes")))?;
    let done = runtime.block_on(future);
    // A look at the host that hangs must not keep the agent from ending.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    done.map(|()| ExitCode::SUCCESS).map_err(Failure::of)
}

fn run_until_signal<F, E>(
    serve: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
) -> Result<ExitCode, Failure>
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |e: std::io::Error| format!("signals cannot be heard: {e}");
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let stop = Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // A task of its own: each time that the runtime's first future is woken costs a system call.
        match tokio::spawn(serve(stop)).await {
            Ok(done) => done.map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        }
    })
}

/// Whether the command may write the host's own files.
fn must_be_root(root: Option<&Path>) -> Result<(), Failure> {
    if root.is_some() || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("this changes files of root; run it with sudo".to_owned()))
}
