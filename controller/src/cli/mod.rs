//! The command line: one subcommand per task, the server without one.

mod offline;
mod replay;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use sysop_common::bytes::{Digest, from_hex};
use sysop_common::ids::HostId;

use crate::config::Config;
use crate::store::users::Role;

/// Smart System Operator's controller: takes samples in, finds what is wrong, repairs what may be repaired.
#[derive(Debug, Parser)]
#[command(name = "sysop-controller", version, about)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags that win over environment and file.
#[derive(Debug, Args)]
struct Settings {
    /// Configuration file [default: /etc/sysop/controller.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the controller's state
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Port of the dashboard on the loopback address
    #[arg(long, global = true)]
    port: Option<String>,
    /// Address of the dashboard
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Address for agents, UDP and TCP
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    agents_listen: Option<String>,
    /// What agents dial, when it is another address
    #[arg(long, global = true, value_name = "HOST:PORT")]
    agents_address: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the controller (the default)
    Serve,
    /// Tokens for programs
    #[command(subcommand)]
    Token(Token),
    /// People
    #[command(subcommand)]
    User(User),
    /// Hosts
    #[command(subcommand)]
    Host(Host),
    /// Tokens with which hosts enrol
    #[command(subcommand)]
    EnrollToken(EnrollToken),
    /// The record of every change and decision
    #[command(subcommand)]
    Audit(Audit),
    /// What is deleted by age
    #[command(subcommand)]
    Retention(Retention),
    /// Looks at a recorded incident again, offline; exit status 0 when the findings are the same
    Replay {
        /// The file, from the incident's page
        file: PathBuf,
        /// Asks this model about it too, and tells what it says otherwise
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
    /// Asks a running controller how it is; exit status 0 when it is ready
    Healthcheck,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Makes one and prints it, once
    Create {
        /// What it is for
        #[arg(long)]
        name: String,
        /// viewer, operator or admin
        #[arg(long, value_parser = role)]
        role: Role,
        /// Days until it ends [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
        expires: Option<u16>,
    },
}

#[derive(Debug, Subcommand)]
enum User {
    /// Makes one; the password comes on standard input
    Add {
        /// Name to sign in with
        name: String,
        /// viewer, operator or admin
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Sets a password, read from standard input, and ends the user's sessions
    Passwd {
        /// Name to sign in with
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum Host {
    /// Lists all hosts
    List,
    /// Revokes a host's certificates: its sessions end within five seconds
    Revoke {
        /// The host's id
        id: HostId,
    },
    /// Revokes a host and takes it off the lists; its history stays until retention removes it
    Remove {
        /// The host's id
        id: HostId,
    },
}

#[derive(Debug, Subcommand)]
enum EnrollToken {
    /// Makes one for one host and 15 minutes, and prints it with the CA's fingerprint
    Create {
        /// What it is for
        #[arg(long, default_value = "command line")]
        name: String,
        /// Brings back this known host instead of taking in a new one
        #[arg(long, value_name = "HOST")]
        recovers: Option<HostId>,
    },
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Checks every record; names the first broken one. Needs no running controller
    Verify {
        /// A head that you kept elsewhere, in hexadecimal; it must be in the chain
        #[arg(long, value_name = "HASH", value_parser = digest)]
        anchor: Vec<Digest>,
    },
}

#[derive(Debug, Subcommand)]
enum Retention {
    /// Says that the clock is right, after a jump of more than a day made the deletion of old data wait
    Confirm,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_word(text).ok_or_else(|| "must be viewer, operator or admin".to_owned())
}

fn digest(text: &str) -> Result<Digest, String> {
    let bytes = from_hex(text).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest).ok_or_else(|| "must be 64 hexadecimal digits".to_owned())
}

impl Settings {
    fn load(self) -> anyhow::Result<Config> {
        let flags = [
            ("server.data_dir", self.data_dir),
            ("server.port", self.port),
            ("server.listen", self.listen),
            ("agents.listen", self.agents_listen),
            ("agents.address", self.agents_address),
        ];
        let given = flags.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Ok(Config::from_process(given.collect(), self.config)?)
    }
}

/// Parses the process's arguments and does what they ask.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            report(&format!("error: {}", one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.settings.load()?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config),
        command => offline::run(config, command),
    }
}

/// The whole chain of causes, each told once.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut line, cause| {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            line += if line.is_empty() { "" } else { ": " };
            line += &cause;
        }
        line
    })
}

#[expect(clippy::disallowed_macros, reason = "a command line answers on the console")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::disallowed_macros, reason = "a command line answers on the console")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = anyhow::anyhow!("address in use")
            .context("cannot listen: address in use; free it")
            .context("start");
        assert_eq!(one_line(&cause), "start: cannot listen: address in use; free it");
    }

    #[test]
    fn a_wrong_role_and_a_wrong_head_are_named() {
        let wrong = Cli::try_parse_from(["c", "token", "create", "--name", "ci", "--role", "root"]);
        assert!(wrong.unwrap_err().to_string().contains("viewer, operator or admin"));
        let wrong = Cli::try_parse_from(["c", "audit", "verify", "--anchor", "12"]);
        assert!(wrong.unwrap_err().to_string().contains("64 hexadecimal digits"));
    }
}
