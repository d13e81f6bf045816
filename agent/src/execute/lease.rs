//! Tells whether a file is in use, by asking the kernel for a lease on it.
//!
//! A write lease is granted only while nobody else has the file open or mapped, by whatever path, in
//! whatever mount or container, and as long as it is held whoever opens the file waits. So the answer
//! needs no look into other processes, which would take the right to read all of their memory
//! (CAP_SYS_PTRACE), and nothing can come between the answer and the removal. It takes CAP_LEASE.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

/// Sets the signal of a descriptor's events; from the kernel's `asm-generic/fcntl.h`.
const F_SETSIG: libc::c_int = 10;

/// A file that nobody else uses for as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    _file: OwnedFd,
    pub(super) stat: Stat,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLease {
    /// Somebody has it open or mapped.
    InUse,
    /// It is gone, or another thing stands there now.
    Gone,
    /// It may not be read.
    Unreadable,
    /// The kernel does not tell.
    Untold(Errno),
}

impl Lease {
    /// Of the file called `name` in `directory`. Nothing else than a regular file is held, no link followed.
    pub(super) fn take(directory: BorrowedFd<'_>, name: &CStr) -> Result<Self, NoLease> {
        // NONBLOCK: neither a pipe nor another one's lease must hold this up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOENT | Errno::LOOP | Errno::NXIO => NoLease::Gone,
            Errno::WOULDBLOCK | Errno::TXTBSY => NoLease::InUse,
            _ => NoLease::Unreadable,
        })?;
        let stat = fstat(&file).map_err(NoLease::Untold)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(NoLease::Gone);
        }
        // Whoever opens the file now makes the kernel tell this process, by SIGIO, which would end it.
        // SIGURG is ignored unless somebody asked for it.
        set(&file, F_SETSIG, libc::SIGURG).map_err(NoLease::Untold)?;
        match set(&file, libc::F_SETLEASE, libc::F_WRLCK) {
            // Once more: only from here on does nobody write to it.
            Ok(()) => Ok(Self { stat: fstat(&file).map_err(NoLease::Untold)?, _file: file }),
            Err(Errno::AGAIN) => Err(NoLease::InUse),
            Err(other) => Err(NoLease::Untold(other)),
        }
    }
}

fn set(file: &OwnedFd, command: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and these two commands take a plain number.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), command, value) };
    if done < 0 {
        return Err(io::Error::last_os_error().raw_os_error().map_or(Errno::INVAL, Errno::from_raw_os_error));
    }
    Ok(())
}

/// Whether somebody else has the file at `path` open or mapped.
///
/// # Errors
/// When it is no regular file, or the kernel does not tell.
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    use std::os::unix::ffi::OsStrExt as _;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    match Lease::take(CWD, &name) {
        Ok(_) => Ok(false),
        Err(NoLease::InUse) => Ok(true),
        Err(NoLease::Gone) => Err(io::ErrorKind::NotFound.into()),
        Err(NoLease::Unreadable) => Err(io::ErrorKind::PermissionDenied.into()),
        Err(NoLease::Untold(e)) => Err(e.into()),
    }
}
