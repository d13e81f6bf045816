//! `/proc/pressure`: time in which some, or all, tasks waited for CPU, memory or I/O.

use std::path::Path;

use sysop_common::metric::{self, MetricId};

use super::read::{KeptFile, ReadError, number};
use super::sensor::{Cycle, Output, Sensor};

/// The pressure sensor. A kernel without pressure information gives "not observed", not a failure.
#[derive(Debug)]
pub(super) struct Pressure {
    files: [(KeptFile, MetricId, MetricId); 3],
    /// The kernel was built or started without it: the files cannot appear before a reboot.
    absent: bool,
}

impl Pressure {
    pub(super) fn new(proc: &Path) -> Self {
        let file = |name: &str| KeptFile::new(proc.join("pressure").join(name));
        Self {
            files: [
                (file("cpu"), metric::PSI_CPU_SOME, metric::PSI_CPU_FULL),
                (file("memory"), metric::PSI_MEMORY_SOME, metric::PSI_MEMORY_FULL),
                (file("io"), metric::PSI_IO_SOME, metric::PSI_IO_FULL),
            ],
            absent: false,
        }
    }
}

impl Sensor for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn read(&mut self, _: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        for (file, some, full) in &mut self.files {
            let (mut some_us, mut full_us) = (None, None);
            if !self.absent {
                match file.read_record() {
                    Ok(text) => {
                        for mut line in text.lines() {
                            match line.word() {
                                Some(b"some") => some_us = Some(total(&mut line)?),
                                Some(b"full") => full_us = Some(total(&mut line)?),
                                _ => {}
                            }
                        }
                    }
                    Err(error) if error.is_absent() || not_supported(&error) => self.absent = true,
                    Err(error) => return Err(error),
                }
            }
            out.put(*some, some_us);
            out.put(*full, full_us);
        }
        Ok(())
    }
}

/// The number behind `total=`.
fn total(line: &mut super::read::Line<'_>) -> Result<u64, ReadError> {
    while let Some(word) = line.word() {
        if let Some(value) = word.strip_prefix(b"total=") {
            return number(value).ok_or_else(|| line.bad("total", value));
        }
    }
    line.number("total")
}

/// With `psi=0` on the kernel's command line the files are there but refuse to be read.
fn not_supported(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source, .. } if source.raw_os_error() == Some(libc::EOPNOTSUPP))
}
