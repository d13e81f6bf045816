//! Reads a body within caps: bytes, and depth of JSON, both while it comes.

use std::time::Duration;

use super::error::{AskError, Phase};
use super::fault::{Again, Fault};

/// Most bytes of an answer. An honest one has a few KiB.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// Most levels of JSON.
pub(super) const MAX_DEPTH: usize = 32;

/// Reads to the end, or to the first cap.
pub(super) async fn read(
    mut response: reqwest::Response,
    between_pieces: Duration,
) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let mut depth = Depth::default();
    loop {
        let piece = match tokio::time::timeout(between_pieces, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Err(error)) => return Err(Fault::broken(error)),
            Err(_) => return Err(Fault::new(AskError::Timeout { phase: Phase::Answer }, Again::Once)),
        };
        if bytes.len() + piece.len() > MAX_BYTES {
            return Err(Fault::new(AskError::TooLarge { what: "256 KiB" }, Again::Never));
        }
        if !depth.feed(&piece) {
            return Err(Fault::new(AskError::TooLarge { what: "32 levels of JSON" }, Again::Never));
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Counts levels outside of strings, piece by piece.
#[derive(Debug, Default)]
pub(super) struct Depth {
    level: usize,
    in_string: bool,
    escaped: bool,
}

impl Depth {
    /// False when it goes too deep.
    pub(super) fn feed(&mut self, piece: &[u8]) -> bool {
        for byte in piece {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.level += 1,
                b'}' | b']' if !self.in_string => self.level = self.level.saturating_sub(1),
                _ => {}
            }
            if self.level > MAX_DEPTH {
                return false;
            }
        }
        true
    }
}
