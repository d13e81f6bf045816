//! Columns of integers as bytes: constant, evenly spaced, or differences as LEB128, under zstd where
//! that is smaller.

/// Bytes that are not a column, or not a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damaged(pub(super) &'static str);

const EMPTY: u8 = 0;
const LINEAR: u8 = 1;
const DELTA: u8 = 2;
const DELTA2: u8 = 3;
/// Added to the kind when the bytes are under zstd.
const PACKED: u8 = 0x10;
/// Level 3: within 12 % of the smallest at a fourteenth of its cost.
const LEVEL: i32 = 3;
/// Fewer bytes than this gain nothing under zstd.
const WORTH_PACKING: usize = 24;
/// Most bytes that any block may have when unpacked.
const MAX_UNPACKED: usize = 64 << 20;

/// Appends LEB128.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number, zigzag.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// A cursor over bytes. Nothing is allocated from a length before it was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged("ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Damaged("ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Damaged> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged("number does not end"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damaged> {
        let raw = self.unsigned()?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    pub(super) fn len(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.unsigned()?)
            .ok()
            .filter(|len| *len <= MAX_UNPACKED)
            .ok_or(Damaged("length too large"))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Encodes `values` as the smallest of the forms.
pub(super) fn encode(values: &[i64]) -> Vec<u8> {
    let Some((first, rest)) = values.split_first() else { return vec![EMPTY] };
    let step = rest.first().map_or(0, |second| second.wrapping_sub(*first));
    if values.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step) {
        let mut out = vec![LINEAR];
        put_signed(&mut out, *first);
        put_signed(&mut out, step);
        return out;
    }
    let (mut delta, mut delta2) = (vec![DELTA], vec![DELTA2]);
    let (mut before, mut slope) = (0i64, 0i64);
    for value in values {
        let grown = value.wrapping_sub(before);
        put_signed(&mut delta, grown);
        put_signed(&mut delta2, grown.wrapping_sub(slope));
        (before, slope) = (*value, grown);
    }
    pack(if delta2.len() < delta.len() { delta2 } else { delta })
}

/// Puts what follows the first byte under zstd where that is smaller.
pub(super) fn pack(plain: Vec<u8>) -> Vec<u8> {
    if plain.len() < WORTH_PACKING {
        return plain;
    }
    // Compressing bytes in memory fails only when memory is short; then they stay as they are.
    let Ok(packed) = zstd::bulk::compress(&plain[1..], LEVEL) else { return plain };
    let mut out = vec![plain[0] | PACKED];
    put(&mut out, plain.len() as u64 - 1);
    out.extend_from_slice(&packed);
    if out.len() < plain.len() { out } else { plain }
}

/// The kind and the plain bytes of what [`pack`] made.
pub(super) fn unpack(bytes: &[u8]) -> Result<(u8, std::borrow::Cow<'_, [u8]>), Damaged> {
    let mut cursor = Cursor(bytes);
    let kind = cursor.byte()?;
    if kind & PACKED == 0 {
        return Ok((kind, cursor.0.into()));
    }
    let len = cursor.len()?;
    let plain = zstd::bulk::decompress(cursor.0, len).map_err(|_| Damaged("block does not unpack"))?;
    if plain.len() == len { Ok((kind & !PACKED, plain.into())) } else { Err(Damaged("block is too short")) }
}

/// Decodes a column of `count` values.
pub(super) fn decode(bytes: &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    let (kind, plain) = unpack(bytes)?;
    let mut cursor = Cursor(&plain);
    let mut values = Vec::with_capacity(count.min(plain.len().max(1 << 16)));
    match kind {
        EMPTY if count == 0 => {}
        LINEAR => {
            let (first, step) = (cursor.signed()?, cursor.signed()?);
            values.extend((0..count as i64).map(|at| first.wrapping_add(step.wrapping_mul(at))));
        }
        DELTA => {
            let mut value = 0i64;
            for _ in 0..count {
                value = value.wrapping_add(cursor.signed()?);
                values.push(value);
            }
        }
        DELTA2 => {
            let (mut value, mut slope) = (0i64, 0i64);
            for _ in 0..count {
                slope = slope.wrapping_add(cursor.signed()?);
                value = value.wrapping_add(slope);
                values.push(value);
            }
        }
        _ => return Err(Damaged("unknown kind of column")),
    }
    if cursor.is_empty() { Ok(values) } else { Err(Damaged("column has bytes left over")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back_as_they_were(values in prop_oneof![
            prop::collection::vec(any::<i64>(), 0..80),
            prop::collection::vec(0i64..500, 0..400),
            (any::<i64>(), -5i64..5, 0usize..300).prop_map(|(first, step, n)| (0..n as i64).map(|i| first.wrapping_add(i.wrapping_mul(step))).collect()),
            prop::collection::vec(prop_oneof![Just(i64::MIN), 0i64..9], 0..80),
        ]) {
            let bytes = encode(&values);
            prop_assert_eq!(decode(&bytes, values.len()).unwrap(), values);
        }

        #[test]
        fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..500) {
            let _ = decode(&bytes, count);
        }
    }

    #[test]
    fn steady_columns_cost_next_to_nothing() {
        assert!(encode(&[7; 360]).len() <= 4);
        assert!(encode(&(0..360).map(|i| 1_800_000_000_000 + i * 10_000).collect::<Vec<_>>()).len() <= 12);
        let jitter: Vec<i64> = (0..360).map(|i| 1_800_000_000_000 + i * 10_000 + i * i % 7).collect();
        assert!(encode(&jitter).len() < 800, "{}", encode(&jitter).len());
    }
}
