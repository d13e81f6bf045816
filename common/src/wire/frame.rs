//! Frames in a stream of bytes.

use super::WireError;
use super::limits::{MAX_ENROL, MAX_MESSAGE, MAX_PROBE_LIST, MAX_SAMPLES};

/// Kinds of message. Upward ones are below 64, downward ones from 64 on.
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u8 = 1;
    pub const INVENTORY: u8 = 2;
    pub const SCHEMA: u8 = 3;
    pub const SAMPLES: u8 = 4;
    pub const NOW: u8 = 5;
    pub const GAP: u8 = 6;
    pub const ORDER_EVENT: u8 = 7;
    pub const OUTPUT: u8 = 8;
    pub const BLACK_BOX: u8 = 9;
    pub const ANSWER: u8 = 10;
    pub const RENEW_REQUEST: u8 = 11;
    pub const ENROL_REQUEST: u8 = 32;
    pub const WELCOME: u8 = 65;
    pub const ACK: u8 = 66;
    pub const ORDER: u8 = 67;
    pub const CANCEL: u8 = 68;
    pub const CONFIGURE: u8 = 69;
    pub const RENEWED: u8 = 70;
    pub const QUERY: u8 = 71;
    pub const EVENT_ACK: u8 = 72;
    pub const CLOSE: u8 = 73;
    pub const PROBES: u8 = 74;
    pub const ENROL_ANSWER: u8 = 96;
}

/// Most bytes of a frame's body by kind.
#[must_use]
pub const fn cap(kind: u8) -> usize {
    match kind {
        kind::SAMPLES | kind::NOW => MAX_SAMPLES,
        kind::ENROL_REQUEST => MAX_ENROL,
        kind::PROBES => MAX_PROBE_LIST,
        _ => MAX_MESSAGE,
    }
}

/// Appends one frame to `out`.
///
/// # Errors
/// When the body is over its kind's cap.
pub fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) -> Result<(), WireError> {
    if body.len() > cap(kind) {
        return Err(WireError::TooLong { kind, len: body.len(), cap: cap(kind) });
    }
    let mut len = body.len() + 1;
    while len >= 0x80 {
        out.push((len as u8) | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.push(kind);
    out.extend_from_slice(body);
    Ok(())
}

/// Collects bytes as they come and yields whole frames. Holds at most one frame more than was read.
#[derive(Debug, Default)]
pub struct FrameBuf {
    bytes: Vec<u8>,
    start: usize,
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Kind of message.
    pub kind: u8,
    /// Its body, within the kind's cap.
    pub body: &'a [u8],
}

impl FrameBuf {
    /// Adds bytes that were read.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        // An idle connection keeps little memory.
        if self.bytes.capacity() > 64 * 1024 && self.bytes.len() < 4 * 1024 {
            self.bytes.shrink_to(4 * 1024);
        }
    }

    /// Bytes that wait for the rest of their frame.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The next whole frame, if it is there. The length is checked against the kind's cap as soon as
    /// both are known, before the body is awaited.
    ///
    /// # Errors
    /// When the bytes are no frame: the connection is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let Some((len, head)) = length(&self.bytes[self.start..])? else { return Ok(None) };
        let Some(kind) = self.bytes.get(self.start + head).copied() else { return Ok(None) };
        let body = len - 1;
        if body > cap(kind) {
            return Err(WireError::TooLong { kind, len: body, cap: cap(kind) });
        }
        let from = self.start + head + 1;
        if self.bytes.len() < from + body {
            return Ok(None);
        }
        self.start = from + body;
        Ok(Some(Frame { kind, body: &self.bytes[from..from + body] }))
    }
}

/// Length and the bytes that it takes; `None` while it is not whole.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut len = 0usize;
    for at in 0..4 {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return if len == 0 || (at > 0 && *byte == 0) {
                Err(WireError::BadLength)
            } else {
                Ok(Some((len, at + 1)))
            };
        }
    }
    Err(WireError::BadLength)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_are_cut(
            frames in prop::collection::vec((1u8..12, prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            step in 1usize..70,
        ) {
            let mut bytes = Vec::new();
            for (kind, body) in &frames {
                put(&mut bytes, *kind, body).unwrap();
            }
            let (mut buf, mut got) = (FrameBuf::default(), Vec::new());
            for piece in bytes.chunks(step) {
                buf.extend(piece);
                while let Some(frame) = buf.next_frame().unwrap() {
                    got.push((frame.kind, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert_eq!(buf.pending(), 0);
        }

        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buf = FrameBuf::default();
            buf.extend(&bytes);
            while let Ok(Some(_)) = buf.next_frame() {}
        }
    }

    #[test]
    fn a_frame_over_its_cap_is_refused_by_its_head() {
        let mut buf = FrameBuf::default();
        buf.extend(&[0xff, 0xff, 0x7f, kind::SAMPLES]);
        assert!(matches!(buf.next_frame(), Err(WireError::TooLong { kind: kind::SAMPLES, .. })));
        let mut zero = FrameBuf::default();
        zero.extend(&[0x00]);
        assert!(matches!(zero.next_frame(), Err(WireError::BadLength)));
        assert!(put(&mut Vec::new(), kind::SAMPLES, &vec![0; MAX_SAMPLES + 1]).is_err());
    }
}
