//! Reads files that decide about rights, and only when nobody but the owner can have written them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};

/// How far the way to a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The file alone: for readers that decide nothing.
    File,
    /// The file and each directory above it: for the executor.
    Path,
}

/// A file that decides about rights cannot be trusted, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum OwnedError {
    /// It is not there.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// Somebody else owns it or a directory above it.
    #[error("{path} belongs to uid {uid}; run: chown root:root {path}", path = .0.display(), uid = .1)]
    Owner(PathBuf, u32),
    /// Somebody else may write it or a directory above it.
    #[error("{path} may be written by others (mode {mode:04o}); run: chmod go-w {path}", path = .0.display(), mode = .1)]
    Writable(PathBuf, u32),
    /// It is not what it should be, or leads elsewhere.
    #[error("{} is not {}; a symbolic link is not followed here", .0.display(), .1)]
    Kind(PathBuf, &'static str),
    /// It is larger than such a file may be.
    #[error("{} is larger than {} bytes", .0.display(), .1)]
    TooLarge(PathBuf, usize),
    /// The system said no.
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Io(PathBuf, std::io::Error),
}

/// The whole of `path`, at most `cap` bytes, when it belongs to root (or to the user that this
/// process runs as) and nobody else may write it.
///
/// # Errors
/// Names what stands in the way, and the command that mends it.
pub fn read(path: &Path, cap: usize, reach: Reach) -> Result<Vec<u8>, OwnedError> {
    let path = std::path::absolute(path).map_err(|e| OwnedError::Io(path.to_owned(), e))?;
    let file = match reach {
        Reach::File => open(CWD, path.as_os_str().as_bytes(), &path, OFlags::RDONLY)?,
        Reach::Path => open_guarded(&path)?,
    };
    let stat = fstat(&file).map_err(|e| OwnedError::Io(path.clone(), e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OwnedError::Kind(path, "a regular file"));
    }
    guarded(&path, &stat, false)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    File::from(file).take(limit).read_to_end(&mut bytes).map_err(|e| OwnedError::Io(path.clone(), e))?;
    if bytes.len() > cap { Err(OwnedError::TooLarge(path, cap)) } else { Ok(bytes) }
}

/// Opens `path` step by step from the root, so that no directory on the way can be swapped.
fn open_guarded(path: &Path) -> Result<std::os::fd::OwnedFd, OwnedError> {
    let mut at = PathBuf::from("/");
    let mut directory = open(CWD, b"/", &at, OFlags::PATH | OFlags::DIRECTORY)?;
    let mut names = path.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = names.next() {
        let Component::Normal(name) = part else { return Err(OwnedError::Kind(at, "a plain path")) };
        let stat = fstat(&directory).map_err(|e| OwnedError::Io(at.clone(), e.into()))?;
        guarded(&at, &stat, true)?;
        at.push(name);
        let flags = if names.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::RDONLY };
        directory = open(&directory, name.as_bytes(), &at, flags)?;
    }
    Ok(directory)
}

fn open(
    directory: impl std::os::fd::AsFd,
    name: &[u8],
    path: &Path,
    flags: OFlags,
) -> Result<std::os::fd::OwnedFd, OwnedError> {
    // NONBLOCK: a pipe in place of the file must not hold the reader up.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat(directory, name, flags, Mode::empty()).map_err(|e| match e {
        rustix::io::Errno::NOENT => OwnedError::Missing(path.to_owned()),
        rustix::io::Errno::LOOP => OwnedError::Kind(path.to_owned(), "a plain file or directory"),
        rustix::io::Errno::NOTDIR => OwnedError::Kind(path.to_owned(), "a directory"),
        other => OwnedError::Io(path.to_owned(), other.into()),
    })
}

/// A directory that others may write passes when it is sticky: they cannot replace what is not theirs.
fn guarded(path: &Path, stat: &Stat, directory: bool) -> Result<(), OwnedError> {
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != 0 && stat.st_uid != own {
        return Err(OwnedError::Owner(path.to_owned(), stat.st_uid));
    }
    let mode = stat.st_mode & 0o7777;
    let sticky = directory && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !sticky {
        return Err(OwnedError::Writable(path.to_owned(), mode));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_read_only_when_nobody_else_could_have_written_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        assert!(matches!(read(&file, 10, Reach::Path), Err(OwnedError::Missing(_))));
        std::fs::write(&file, "12345").unwrap();
        mode(&file, 0o644);
        assert_eq!(read(&file, 10, Reach::Path).unwrap(), b"12345");
        assert!(matches!(read(&file, 4, Reach::Path), Err(OwnedError::TooLarge(_, 4))));
        for bad in [0o664, 0o646, 0o666] {
            mode(&file, bad);
            assert!(matches!(read(&file, 10, Reach::File), Err(OwnedError::Writable(..))), "{bad:o}");
        }
        mode(&file, 0o600);
        mode(dir.path(), 0o777);
        assert!(matches!(read(&file, 10, Reach::Path), Err(OwnedError::Writable(..))));
        assert!(read(&file, 10, Reach::File).is_ok());
        mode(dir.path(), 0o755);
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(matches!(read(&link, 10, Reach::Path), Err(OwnedError::Kind(..))));
        assert!(matches!(read(&link, 10, Reach::File), Err(OwnedError::Kind(..))));
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        symlink(&inside, dir.path().join("way")).unwrap();
        std::fs::write(inside.join("f"), "x").unwrap();
        assert!(read(&dir.path().join("way/f"), 10, Reach::Path).is_err());
        assert!(read(&inside, 10, Reach::File).is_err());
    }

    #[test]
    fn a_foreign_owner_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: giving a file away needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
        assert!(matches!(read(&file, 10, Reach::File), Err(OwnedError::Owner(_, 65_534))));
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        assert!(matches!(read(&file, 10, Reach::Path), Err(OwnedError::Owner(_, 65_534))));
    }
}
