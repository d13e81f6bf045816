//! Small help with programs: find one, run one, wait for something to become true.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Where `name` lies on the search path, the administrator's folders included.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|folder| PathBuf::from(folder).join(name)).find(|candidate| candidate.is_file())
}

/// Runs a program of this machine; anything but success is an error with its last words.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = command(program)?;
    command.args(arguments);
    let output = finish(&mut command, None)?;
    if !output.success() {
        bail!("{program} {}: {}{}", arguments.join(" "), output.stderr.trim(), output.stdout.trim());
    }
    Ok(output.stdout)
}

/// A command for a program that may lie in an administrator's folder.
pub(super) fn command(program: &str) -> Result<Command> {
    Ok(Command::new(find(program).with_context(|| format!("{program} is not installed"))?))
}

/// Runs `command` to its end, feeding it `input`.
pub(super) fn finish(command: &mut Command, input: Option<&[u8]>) -> Result<Output> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {:?}", command.get_program()))?;
    let writer = child.stdin.take().zip(input.map(<[u8]>::to_vec)).map(|(mut pipe, bytes)| {
        // A program that ends before it has read everything says why by its exit code.
        std::thread::spawn(move || std::io::Write::write_all(&mut pipe, &bytes))
    });
    let output = child.wait_with_output()?;
    if let Some(writer) = writer {
        let _ = writer.join();
    }
    Ok(Output {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Looks every 50 ms until `look` finds something; an error of the last look is part of the message.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(" ({error:#})"),
        };
        if start.elapsed() > limit {
            bail!("no {what} within {limit:?}{last}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
