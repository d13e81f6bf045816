//! LEB128 integers, zigzag, steps, bitmaps and short strings in a byte buffer.

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
    put(out, zigzag(value));
}

/// Small numbers of either sign as small ones without.
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) const fn unzigzag(raw: u64) -> i64 {
    ((raw >> 1) as i64) ^ -((raw & 1) as i64)
}

/// The number of whole steps in a difference; `None` when it is none, or too large to carry a flag.
pub(super) fn in_steps(delta: i64, step: u64) -> Option<i64> {
    let step = step as i64;
    let steps = delta / step;
    (delta % step == 0 && steps.unsigned_abs() < 1 << 60).then_some(steps)
}

/// A difference: twice its number of steps, or 1 and the exact one. Steps of one need no such flag.
pub(super) fn put_stepped(out: &mut Vec<u8>, delta: i64, step: u64) {
    match in_steps(delta, step) {
        _ if step == 1 => put_signed(out, delta),
        Some(steps) => put(out, zigzag(steps) << 1),
        None => {
            put(out, 1);
            put_signed(out, delta);
        }
    }
}

pub(super) fn read_stepped(reader: &mut Reader<'_>, step: u64) -> Result<i64, CodecError> {
    if step == 1 {
        return reader.signed();
    }
    match reader.unsigned()? {
        head if head & 1 == 0 => Ok(unzigzag(head >> 1).wrapping_mul(step as i64)),
        _ => reader.signed(),
    }
}

/// In what a column is counted, as far as its value tells. A step that does not fit costs a byte.
pub(super) const fn step_of(before: i64) -> u64 {
    match before.trailing_zeros() {
        // Small numbers that happen to be even are no sizes.
        _ if before.unsigned_abs() < 1 << 16 => 1,
        12.. => 4096,
        10.. => 1024,
        9.. => 512,
        _ => 1,
    }
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
        self.unsigned().map(unzigzag)
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

pub(super) fn put_bitmap(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let (mut byte, mut at) = (0u8, 0u32);
    for set in bits {
        byte |= u8::from(set) << at;
        at += 1;
        if at == 8 {
            out.push(byte);
            (byte, at) = (0, 0);
        }
    }
    if at > 0 {
        out.push(byte);
    }
}

/// A bitmap of which most bytes are zero: which of them are not, and those.
pub(super) fn put_sparse(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let mut bytes = Vec::new();
    put_bitmap(&mut bytes, bits);
    put_bitmap(out, bytes.iter().map(|byte| *byte != 0));
    out.extend(bytes.iter().filter(|byte| **byte != 0));
}

pub(super) fn read_sparse(reader: &mut Reader<'_>, bits: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![0; bits.div_ceil(8)];
    let filled = reader.bytes(bytes.len().div_ceil(8))?;
    for (at, byte) in bytes.iter_mut().enumerate() {
        if bit(filled, at) {
            *byte = reader.byte()?;
        }
    }
    Ok(bytes)
}

pub(super) fn bit(bitmap: &[u8], at: usize) -> bool {
    bitmap.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}
