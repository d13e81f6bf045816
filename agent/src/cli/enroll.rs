//! `enroll` and `unenroll`.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{Failure, say};
use super::{Cli, EXECUTOR_STATE, block_on, must_be_root};
use crate::config::{Config, SAMPLE, with_setting};
use crate::enrol::{Done, Enrolment, enrol, parse_fingerprint};
use crate::executor;
use crate::guard::{AllowClass, Policy};
use crate::identity::Identity;
use crate::identity::files::{self, Owner};
use crate::run::status;

/// The user that the collector runs as.
const USER: &str = "sysop";
/// Most bytes that are read where a token should be.
const MAX_INPUT: u64 = 4096;

#[derive(Debug, Args)]
pub(super) struct Enroll {
    /// Address of the controller.
    #[arg(long, value_name = "HOST:PORT")]
    controller: String,
    /// Fingerprint of the controller's CA.
    #[arg(long, value_name = "sha256:…")]
    ca_fingerprint: String,
    /// Read the one-time token from standard input.
    #[arg(long, conflicts_with = "token_file", required_unless_present = "token_file")]
    token_stdin: bool,
    /// Read the one-time token from a file.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Allow an action in the first policy: services, or an action's name, with =TARGET,… to narrow it;
    /// may be given more than once. Without it this host is monitored only.
    #[arg(long, value_name = "CLASS")]
    allow: Vec<AllowClass>,
    /// Name to show for this host [default: the kernel's host name].
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
}

impl Enroll {
    pub(super) fn act(&self, cli: &Cli) -> Result<ExitCode, Failure> {
        must_be_root(cli.root.as_deref())?;
        let ca = parse_fingerprint(&self.ca_fingerprint).map_err(Failure::of)?;
        let mut config = cli.settings()?;
        config.controller.clone_from(&self.controller);
        if let Some((key, problem)) = config.problem() {
            return Err(Failure::new(format!("{key}: {problem}")));
        }
        let token = self.token()?;
        let owner = owner(cli.root.as_deref());
        let (allow, name) = (self.allow.clone(), self.name.clone());
        let enrolment = Enrolment { config: config.clone(), token, ca, name, allow, owner };
        let mut done = None;
        block_on(async {
            done = Some(enrol(enrolment).await?);
            Ok::<(), crate::enrol::EnrolError>(())
        })?;
        // An executor takes no order without a journal, so that a lost one is not taken for a new one.
        executor::prepare(&cli.executor_paths(Path::new(EXECUTOR_STATE))?).map_err(|e| {
            Failure::new(format!("this host is enrolled, but the executor's journal cannot be made: {e}"))
        })?;
        // The settings last: a host that was not taken in has none.
        write_settings(&cli.config_file(), &self.controller, &self.name)?;
        done.map_or(Ok(ExitCode::FAILURE), |done| say(&self.told(&config, done)))
    }

    fn token(&self) -> Result<String, Failure> {
        let mut token = String::new();
        let read = match &self.token_file {
            Some(file) => {
                std::fs::File::open(file).and_then(|f| f.take(MAX_INPUT).read_to_string(&mut token))
            }
            None => io::stdin().take(MAX_INPUT).read_to_string(&mut token),
        };
        let from =
            self.token_file.as_ref().map_or("standard input".into(), |file| file.display().to_string());
        read.map_err(|e| Failure::new(format!("{from}: the token cannot be read: {e}")))?;
        Ok(token)
    }

    /// What was done and what comes next.
    fn told(&self, config: &Config, done: Done) -> String {
        let mut lines = vec![format!(
            "This host is enrolled at {} as {} (over {}).",
            self.controller,
            done.host,
            done.transport.word()
        )];
        let policy = &config.paths.policy;
        let allowed = Policy::load(policy).map(|policy| policy.grants(false));
        let acts = allowed.as_ref().is_ok_and(|grants| !grants.allow.is_empty());
        match &allowed {
            Ok(grants) if grants.allow.is_empty() => lines.push("Allowed: readings; no action.".to_owned()),
            Ok(grants) => lines.extend(
                grants.allow.iter().map(|allowed| format!("Allowed: {}", super::show::line(allowed))),
            ),
            Err(e) => lines.push(format!("The policy cannot be used, so nothing is allowed: {e}")),
        }
        if !done.wrote_policy {
            let ignored = if self.allow.is_empty() { "" } else { "; --allow was not applied" };
            lines.push(format!("{} was there and is kept{ignored}.", policy.display()));
        }
        lines.push(format!("To change it, edit {}.", policy.display()));
        let socket = if acts { " sysop-executor.socket" } else { "" };
        lines.push(format!("Next: systemctl enable --now sysop-agent{socket}"));
        lines.join("\n")
    }
}

/// Who owns key and state: the agent's user where it exists.
fn owner(root: Option<&Path>) -> Option<Owner> {
    let passwd = root.unwrap_or_else(|| Path::new("/")).join("etc/passwd");
    let text = std::fs::read_to_string(passwd).unwrap_or_default();
    Owner::named(USER, &text).filter(|_| rustix::process::geteuid().is_root())
}

/// Writes the address, and the name if one was given, into the settings file.
fn write_settings(file: &Path, controller: &str, name: &str) -> Result<(), Failure> {
    let old = match std::fs::read_to_string(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(SAMPLE.to_owned()),
        read => read,
    };
    let written = old.and_then(|old| {
        let mut new = with_setting(&old, "controller", controller);
        if !name.is_empty() {
            new = with_setting(&new, "host.name", name);
        }
        if new == old {
            return Ok(());
        }
        file.parent().map_or(Ok(()), |parent| files::directory(parent, 0o755, None))?;
        files::write(file, new.as_bytes(), 0o644, None)
    });
    written.map_err(|e| {
        Failure::new(format!(
            "this host is enrolled, but {} cannot be written ({e}); write controller = {controller:?} into it",
            file.display()
        ))
    })
}

/// Forgets identity and spool; settings and policy are the owner's and stay.
pub(super) fn unenroll(config: &Config) -> Result<ExitCode, Failure> {
    let writable = rustix::fs::access(&config.paths.trust, rustix::fs::Access::WRITE_OK);
    if writable == Err(rustix::io::Errno::ACCESS) {
        let text = format!("{} belongs to root; run this with sudo", config.paths.trust.display());
        return Err(Failure::new(text));
    }
    if status::read(config).is_some_and(|report| report.is_running()) {
        let remedy = "systemctl disable --now sysop-agent sysop-executor.socket sysop-executor";
        return Err(Failure::new(format!("the agent is running; stop it first: {remedy}")));
    }
    let host = Identity::load(&config.paths).ok().map(|identity| identity.host());
    Identity::remove(&config.paths).map_err(Failure::of)?;
    let spool = config.paths.state.join("spool");
    match std::fs::remove_dir_all(&spool) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::new(format!("{}: {e}", spool.display())));
        }
        _ => {}
    }
    let who = host.map_or("This host".to_owned(), |host| format!("Host {host}"));
    say(&format!(
        "{who} is not enrolled any more. Settings and policy are kept.\nRevoke it at the controller too, so that a copy of its key is of no use."
    ))
}
