//! The only place that starts a process: fixed programs, arguments as a list, a fixed environment,
//! no terminal, no inherited descriptor, bounded time and output.
//!
//! A child gets a session of its own, so that the time limit can end all of its processes at once.
//! It is not tied to the executor's life (no parent-death signal): a restart that was begun is not
//! broken off half-way when the executor is replaced; the journal then says `unknown`.

use std::io::{self, PipeReader, Read as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use sysop_common::bytes::Digest;

/// Where programs are taken from; the environment's search path plays no part.
const DIRECTORIES: [&str; 2] = ["/usr/bin", "/bin"];
/// All that a child finds in its environment.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    ("SYSTEMD_COLORS", "0"),
    ("SYSTEMD_PAGER", ""),
    ("SYSTEMD_PAGERSECURE", "1"),
];
/// Descriptors below this are marked to be closed in a child.
const MAX_DESCRIPTOR: i32 = 1_024;
const TICK: Duration = Duration::from_millis(20);
/// Time between SIGTERM and SIGKILL for a child that ran out of time.
const GRACE: Duration = Duration::from_secs(2);
/// How long a child that cannot be ended is waited for.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Name of the program, without a directory.
    pub program: &'static str,
    /// Its arguments, one by one: no shell sees them.
    pub arguments: Vec<String>,
    /// It is ended after this long.
    pub timeout: Duration,
    /// Most bytes of output that are kept; the rest is counted and digested.
    pub keep: usize,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Exit status, when it exited by itself.
    pub exit: Option<i32>,
    /// Whether it was ended by its time limit.
    pub timed_out: bool,
    /// Standard output and error as they came.
    pub output: Output,
}

/// Output, bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The first bytes.
    pub kept: Vec<u8>,
    /// How many there were.
    pub total: u64,
    /// SHA-256 of all of them.
    pub digest: Digest,
}

/// A process could not be run. It did not start, or its end could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is not there, or others could have replaced it.
    #[error("{0} is not in /usr/bin or /bin, or does not belong to root alone")]
    NoProgram(&'static str),
    /// The system said no.
    #[error("{0} cannot be run: {1}")]
    Io(&'static str, io::Error),
}

/// Starts processes.
pub trait Runner: Send + Sync {
    /// Runs one to its end, or to its limits.
    ///
    /// # Errors
    /// When it could not be run.
    fn run(&self, invocation: &Invocation) -> Result<Ran, RunError>;
}

/// Starts real ones.
#[derive(Debug, Clone, Copy)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&self, invocation: &Invocation) -> Result<Ran, RunError> {
        let io = |e: io::Error| RunError::Io(invocation.program, e);
        let path = find(invocation.program).ok_or(RunError::NoProgram(invocation.program))?;
        let (reader, child) = spawn(&path, &invocation.arguments).map_err(io)?;
        Watch::new(reader, child, invocation).finish().map_err(io)
    }
}

/// The program, when only root can have put it there.
fn find(program: &'static str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|dir| PathBuf::from(dir).join(program)).find(|path| {
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.uid() == 0 && meta.mode() & 0o022 == 0)
    })
}

#[allow(clippy::disallowed_methods, reason = "the one place where it is allowed")]
fn spawn(path: &PathBuf, arguments: &[String]) -> io::Result<(PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)?;
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(before_exec);
    }
    // The command holds the pipe's other end; with it gone, the reader sees the end of the output.
    let child = command.spawn();
    drop(command);
    Ok((reader, child?))
}

/// In the child: its own session, nothing inherited, files for its user alone.
fn before_exec() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    for number in 3..MAX_DESCRIPTOR {
        // SAFETY: the number is passed to one system call, which says so if nothing is open there.
        // Marked, not closed: the standard library still needs its own to report a failed exec.
        #[allow(unsafe_code)]
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
    }
    Ok(())
}

/// A child being watched to its end.
struct Watch {
    reader: Option<PipeReader>,
    child: Child,
    deadline: Instant,
    keep: usize,
    kept: Vec<u8>,
    total: u64,
    digest: ring::digest::Context,
}

impl Watch {
    fn new(reader: PipeReader, child: Child, invocation: &Invocation) -> Self {
        Self {
            reader: Some(reader),
            child,
            deadline: Instant::now() + invocation.timeout,
            keep: invocation.keep,
            kept: Vec::new(),
            total: 0,
            digest: ring::digest::Context::new(&ring::digest::SHA256),
        }
    }

    fn finish(mut self) -> io::Result<Ran> {
        let timed_out = !self.read_until(self.deadline)?;
        if timed_out {
            self.signal(Signal::TERM);
            if !self.read_until(Instant::now() + GRACE)? {
                self.signal(Signal::KILL);
                self.read_until(Instant::now() + LAST_WAIT)?;
            }
        }
        // What the child left behind ends with it. It is not reaped yet, so the number is its own.
        self.signal(Signal::KILL);
        self.drain()?;
        let exit = if self.has_exited()? { self.child.wait()?.code() } else { None };
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(self.digest.finish().as_ref());
        let output = Output { kept: self.kept, total: self.total, digest };
        Ok(Ran { exit: exit.filter(|_| !timed_out), timed_out, output })
    }

    /// Reads until the child has ended; false when the time is over before.
    fn read_until(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            self.drain()?;
            if self.has_exited()? {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
            match &self.reader {
                Some(reader) => {
                    let mut polled = [PollFd::new(reader, PollFlags::IN)];
                    ignore_interrupt(poll(&mut polled, Some(&tick)))?;
                }
                None => ignore_interrupt(poll(&mut [], Some(&tick)))?,
            }
        }
    }

    /// Takes what the pipe holds now.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        // A child that writes without end must not keep this from looking at the clock.
        for _ in 0..64 {
            let Some(reader) = &mut self.reader else { return Ok(()) };
            match reader.read(&mut buffer) {
                Ok(0) => self.reader = None,
                Ok(len) => {
                    let room = self.keep.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..len.min(room)]);
                    self.total += len as u64;
                    self.digest.update(&buffer[..len]);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether the child has ended. It stays unreaped, so that its number is not given to another.
    fn has_exited(&self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(pid), options)?.is_some())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Fails when nobody is left, which is what is wanted.
            let _ = kill_process_group(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

fn ignore_interrupt(result: rustix::io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Output made of lines that an action wrote itself.
pub(super) fn lines(lines: &[String], keep: usize) -> Output {
    let mut bytes = lines.join("\n").into_bytes();
    if !bytes.is_empty() {
        bytes.push(b'\n');
    }
    let digest = Digest(sysop_common::ids::sha256(&bytes));
    let total = bytes.len() as u64;
    bytes.truncate(keep);
    Output { kept: bytes, total, digest }
}

/// Whether a descriptor becomes readable within `time`: a process's, when it has ended.
pub(super) fn becomes_readable(descriptor: &impl std::os::fd::AsFd, time: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
