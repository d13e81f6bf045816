//! Reading kernel files: descriptors that stay open, buffers that are reused, errors that name file,
//! line and item.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};

use super::unit::BusError;

/// Most bytes taken from one file; `/proc/stat` of a machine with thousands of interrupts has 100 KiB.
const FILE_CAP: usize = 1 << 20;
/// First size of a buffer, and the size of a single-record read.
const FIRST: usize = 4096;

/// Why a sensor could not look.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An item is not the number that it should be.
    #[error("{}, line {line}: {item} is not a number: {got:?}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Name of the item.
        item: &'static str,
        /// What stands there, cut.
        got: String,
    },
    /// An item is not there: the file is torn or of a foreign format.
    #[error("{}, line {line}: {item} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 when the whole file lacks it.
        line: usize,
        /// Name of the item.
        item: &'static str,
    },
    /// The file is longer than any that the kernel writes.
    #[error("{} is longer than {FILE_CAP} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The system bus does not answer as it should.
    #[error("system bus: {0}")]
    Bus(#[from] BusError),
}

impl ReadError {
    pub(crate) fn io(path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.to_owned(), source: source.into() }
    }

    /// Whether the file does not exist, which for many files only says that the kernel lacks the part.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A kernel file whose descriptor stays open: reading it again costs half of opening it again.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    file: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl KeptFile {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, file: None, buffer: Vec::new() }
    }

    /// The whole file, from its beginning.
    pub(crate) fn read(&mut self) -> Result<Text<'_>, ReadError> {
        self.fill(true)
    }

    /// A file of one short record, which the kernel gives in one piece: saves the read that finds the end.
    pub(crate) fn read_record(&mut self) -> Result<Text<'_>, ReadError> {
        self.fill(false)
    }

    /// `None` when the file does not exist.
    pub(crate) fn read_optional(&mut self) -> Result<Option<Text<'_>>, ReadError> {
        match self.fill(true) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel says that the file changed since it was read; true for a file that is not open
    /// or cannot tell. Mount tables can tell.
    pub(crate) fn changed(&self) -> bool {
        let Some(file) = &self.file else { return true };
        let mut asked = [PollFd::new(file, PollFlags::PRI)];
        let now = rustix::time::Timespec::default();
        rustix::event::poll(&mut asked, Some(&now)).map_or(true, |events| events > 0)
    }

    fn fill(&mut self, to_end: bool) -> Result<Text<'_>, ReadError> {
        let kept = self.file.take();
        let was_open = kept.is_some();
        let mut result = match kept {
            Some(file) => Ok(file),
            None => open(&self.path),
        }
        .and_then(|file| read_all(&file, &mut self.buffer, to_end).map(|length| (file, length)));
        // A descriptor can outlive its object (a device that left and came back): look once more.
        if was_open && result.is_err() {
            result = open(&self.path)
                .and_then(|file| read_all(&file, &mut self.buffer, to_end).map(|length| (file, length)));
        }
        let (file, length) = result.map_err(|source| ReadError::io(&self.path, source))?;
        if length > FILE_CAP {
            return Err(ReadError::TooLong { path: self.path.clone() });
        }
        self.file = Some(file);
        Ok(Text { path: &self.path, bytes: self.buffer.get(..length).unwrap_or_default() })
    }
}

fn open(path: &Path) -> Result<OwnedFd, io::Error> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
}

/// Reads from offset 0 into `buffer` and returns the length; beyond [`FILE_CAP`] it stops reading.
fn read_all(file: &OwnedFd, buffer: &mut Vec<u8>, to_end: bool) -> Result<usize, io::Error> {
    if buffer.is_empty() {
        buffer.resize(FIRST, 0);
    }
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length > FILE_CAP {
                return Ok(length);
            }
            buffer.resize(length * 2, 0);
        }
        let got = rustix::io::pread(file, &mut buffer[length..], length as u64)?;
        length += got;
        if got == 0 || (!to_end && length < buffer.len()) {
            return Ok(length);
        }
    }
}

/// Reads a small file once, without keeping it: for facts and for cgroup files that come and go.
pub(crate) fn read_once(path: &Path) -> Result<String, ReadError> {
    let mut file = KeptFile::new(path.to_owned());
    Ok(String::from_utf8_lossy(file.read()?.bytes).into_owned())
}

/// As [`read_once`], trimmed; `None` when it cannot be read or is empty.
pub(crate) fn read_word(path: &Path) -> Option<String> {
    let text = read_once(path).ok()?;
    let word = text.trim();
    (!word.is_empty()).then(|| word.to_owned())
}

/// What a file held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    path: &'a Path,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Text<'a> {
    #[cfg(test)]
    pub(crate) const fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { path, bytes }
    }

    /// The lines, without their ends.
    pub(crate) fn lines(self) -> impl Iterator<Item = Line<'a>> {
        let bytes = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes);
        bytes.split(|b| *b == b'\n').enumerate().map(move |(at, rest)| Line {
            path: self.path,
            number: at + 1,
            rest,
        })
    }

    /// The first line; empty for an empty file.
    pub(crate) fn line(self) -> Line<'a> {
        let rest = self.bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        Line { path: self.path, number: 1, rest }
    }

    /// That the file lacks `item`.
    pub(crate) fn missing(self, item: &'static str) -> ReadError {
        ReadError::Missing { path: self.path.to_owned(), line: 0, item }
    }
}

/// One line, consumed word by word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    path: &'a Path,
    number: usize,
    pub(crate) rest: &'a [u8],
}

impl<'a> Line<'a> {
    /// The next word between blanks.
    pub(crate) fn word(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|b| !is_blank(*b))?;
        let rest = &self.rest[start..];
        let end = rest.iter().position(|b| is_blank(*b)).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }

    /// The next word as a number; `item` names it in the error.
    pub(crate) fn number(&mut self, item: &'static str) -> Result<u64, ReadError> {
        let (path, line) = (self.path, self.number);
        let word = self.word().ok_or_else(|| ReadError::Missing { path: path.to_owned(), line, item })?;
        number(word).ok_or_else(|| self.bad(item, word))
    }

    /// The next words as numbers, one for each item.
    pub(crate) fn numbers<const N: usize>(
        &mut self,
        items: &[&'static str; N],
    ) -> Result<[u64; N], ReadError> {
        let mut out = [0; N];
        for (slot, item) in out.iter_mut().zip(items) {
            *slot = self.number(item)?;
        }
        Ok(out)
    }

    /// That `got` is not the number `item`.
    pub(crate) fn bad(&self, item: &'static str, got: &[u8]) -> ReadError {
        let got = String::from_utf8_lossy(&got[..got.len().min(40)]).into_owned();
        ReadError::Parse { path: self.path.to_owned(), line: self.number, item, got }
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// A decimal number without sign; `None` when it is none or does not fit.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// A decimal number with a fraction, times 10^`places`, further places cut: `1.27` with 2 places is 127.
pub(crate) fn decimal(word: &[u8], places: usize) -> Option<u64> {
    let mut parts = word.splitn(2, |b| *b == b'.');
    let whole = number(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    (0..places).try_fold(whole, |value, at| {
        let digit = match fraction.get(at) {
            Some(byte) => number(std::slice::from_ref(byte))?,
            None => 0,
        };
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_reject_signs_blanks_and_what_does_not_fit() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "-1", "1 ", "18446744073709551616", "0x1", "1.5"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decimal(b"1.27", 2), Some(127));
        assert_eq!(decimal(b"1.2", 2), Some(120));
        assert_eq!(decimal(b"12", 2), Some(1200));
        assert_eq!(decimal(b"1.279", 2), Some(127));
        assert_eq!(decimal(b"1.x", 2), None);
    }

    #[test]
    fn errors_name_file_line_and_item() {
        let path = Path::new("/proc/stat");
        let text = Text::new(path, b"first 1\nsecond x\n");
        let mut line = text.lines().nth(1).unwrap();
        line.word();
        let error = line.number("user").unwrap_err().to_string();
        assert_eq!(error, "/proc/stat, line 2: user is not a number: \"x\"");
        assert_eq!(line.number("nice").unwrap_err().to_string(), "/proc/stat, line 2: nice is missing");
    }

    #[test]
    fn kept_file_follows_growth_and_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'a'; 10_000]).unwrap();
        let mut file = KeptFile::new(path.clone());
        assert_eq!(file.read().unwrap().bytes.len(), 10_000);
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(file.read().unwrap().bytes, b"short");
        assert!(KeptFile::new(folder.path().join("none")).read_optional().unwrap().is_none());
        std::fs::write(&path, vec![b'a'; FILE_CAP * 2]).unwrap();
        assert!(matches!(file.read(), Err(ReadError::TooLong { .. })));
    }
}
