//! What the console says at the start: where to go, and what to do next.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sysop_common::bytes::Digest;

use crate::config::{Config, Https};
use crate::web::auth::FirstRun;

/// Prints it. The setup code goes to the console and nowhere else, so not through the log.
#[expect(clippy::disallowed_macros, reason = "the console is where the setup code must appear")]
pub(super) fn print(config: &Config, agents: SocketAddr, first_run: &FirstRun, ca: &Digest) {
    println!("{}", text(config, agents, first_run, ca));
}

fn text(config: &Config, agents: SocketAddr, first_run: &FirstRun, ca: &Digest) -> String {
    let scheme = if config.server.https == Https::Off { "http" } else { "https" };
    let mut out = String::new();
    let _ = writeln!(out, "\nSmart System Operator {}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  Dashboard  {scheme}://{}/", config.server.listen);
    let _ = writeln!(out, "  Agents     {agents} (UDP and TCP), CA sha256:{ca}");
    let _ = writeln!(out, "  Data       {}", config.server.data_dir.display());
    for note in &config.notes {
        let _ = writeln!(out, "  Note       {note}");
    }
    let _ = match first_run {
        FirstRun::Code(code) => write!(
            out,
            "\n  Setup code {code}\n\nNext: open the dashboard, enter the code, choose a name and a password.\n\
             The code works once; a restart makes a new one."
        ),
        FirstRun::MadeFromSettings => {
            write!(out, "\nNext: log in as admin with APP_INIT_SECRET and choose another password.")
        }
        FirstRun::Done => write!(out, "\nNext: log in. \"Add host\" shows the command for another server."),
    };
    out
}
