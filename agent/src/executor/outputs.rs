//! What is kept of the output of runs, until the controller has it. Best effort: a full disk costs
//! the text, never the record of the run.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use sysop_common::ids::OrderId;

/// Most bytes that are read back of one.
const MAX_OUTPUT: u64 = 48 * 1024;

/// The files, one per order, named by its id.
#[derive(Debug)]
pub(super) struct Outputs {
    dir: PathBuf,
}

impl Outputs {
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn write(&self, order: OrderId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Err(e) = self.try_write(order, bytes) {
            tracing::warn!(%order, error = %e, "output could not be kept");
        }
    }

    fn try_write(&self, order: OrderId, bytes: &[u8]) -> std::io::Result<()> {
        if !self.dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        }
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path(order))?;
        file.write_all(bytes)
    }

    pub(super) fn read(&self, order: OrderId) -> Option<Vec<u8>> {
        use std::io::Read as _;
        let file = std::fs::File::open(self.path(order)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_OUTPUT).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(super) fn remove(&self, order: OrderId) {
        let _ = std::fs::remove_file(self.path(order));
    }

    /// Removes the output of orders that nobody waits for.
    pub(super) fn keep_only(&self, wanted: impl Fn(OrderId) -> bool) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<OrderId>().ok());
            if let Some(id) = id.filter(|id| !wanted(*id)) {
                self.remove(id);
            }
        }
    }

    fn path(&self, order: OrderId) -> PathBuf {
        self.dir.join(order.to_string())
    }
}
