//! What a command says, and how it fails.

use std::io::Write as _;
use std::process::ExitCode;

use crate::sample::is_unsafe;

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
        let _ = writeln!(std::io::stderr(), "sysop-agent: {}", clean(&self.0));
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
    match writeln!(std::io::stdout(), "{}", clean(text.trim_end())) {
        // `sysop-agent status | head -1`
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {e}")))
        }
        _ => Ok(code),
    }
}

/// Parts of what is said come from a controller, or from the agent that talks to it: none of it may tell
/// root's terminal what to do.
fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_controller_says_moves_no_cursor() {
        let told = clean("last: closed\u{1b}]0;x\u{7}\u{9b}2J\rrunning\u{202e}\n\tnext");
        assert_eq!(told, "last: closed\u{fffd}]0;x\u{fffd}\u{fffd}2J\u{fffd}running\u{fffd}\n\tnext");
    }
}
