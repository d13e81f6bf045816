//! LEB128 integers, zigzag and short strings in a byte buffer.

use super::Text;
use super::codec::CodecError;

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// `text` cut to [`super::MAX_TEXT`] bytes at a character boundary.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(super::MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A cursor over bytes from a peer. Nothing is allocated from a length before the bytes are there.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn byte(&mut self) -> Result<u8, CodecError> {
        let (first, rest) = self.rest.split_first().ok_or(CodecError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        if len > self.rest.len() {
            return Err(CodecError::Truncated);
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(CodecError::Overflow);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::Overflow)
    }

    pub(super) fn signed(&mut self) -> Result<i64, CodecError> {
        let raw = self.unsigned()?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    pub(super) fn narrow(&mut self) -> Result<u32, CodecError> {
        u32::try_from(self.unsigned()?).map_err(|_| CodecError::Overflow)
    }

    pub(super) fn count(&mut self, cap: usize, what: &'static str) -> Result<usize, CodecError> {
        let count = self.unsigned()?;
        usize::try_from(count).ok().filter(|count| *count <= cap).ok_or(CodecError::TooMany { what, cap })
    }

    pub(super) fn text(&mut self) -> Result<Text, CodecError> {
        let len = self.count(super::MAX_TEXT, "bytes of text")?;
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map(Text::from).map_err(|_| CodecError::NotText)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
