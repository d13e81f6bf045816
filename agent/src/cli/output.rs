//! What a command says, and how it fails.

use std::io::Write as _;
use std::process::ExitCode;

/// A command could not do its work.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// With the whole chain of causes; an error's own text names only its own step.
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }

    /// Says why, on standard error; exit status 1.
    pub(super) fn report(&self) -> ExitCode {
        // Nobody may be listening.
        let _ = writeln!(std::io::stderr(), "sysop-agent: {}", self.0);
        ExitCode::FAILURE
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says the command's answer, on standard output.
pub(super) fn say(text: &str) -> Result<ExitCode, Failure> {
    say_with(text, ExitCode::SUCCESS)
}

/// As [`say`], with an exit status that is part of the answer.
pub(super) fn say_with(text: &str, code: ExitCode) -> Result<ExitCode, Failure> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // `sysop-agent status | head -1`
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {e}")))
        }
        _ => Ok(code),
    }
}
