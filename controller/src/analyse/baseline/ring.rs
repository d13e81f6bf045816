//! Rings of values that are at least 0, two bytes each: 6 bits of exponent, 10 of mantissa.

use std::collections::VecDeque;

/// The smallest power of two that is told from 0, and how many there are.
const LOWEST: i64 = -24;
const POWERS: i64 = 64;

/// A value in two bytes: within 0.05 % from 2^-24 to 2^40; less is 0, more is the largest.
#[must_use]
pub(super) fn squeeze(value: f64) -> u16 {
    if value.is_nan() || value <= 0.0 {
        return 0;
    }
    let bits = value.to_bits();
    let power = ((bits >> 52) & 0x7ff) as i64 - 1_023 - LOWEST;
    if power < 0 {
        return 0;
    }
    if power >= POWERS {
        return u16::MAX;
    }
    let mantissa = (bits >> 42) & 0x3ff;
    let code = (power as u64) << 10 | mantissa;
    // Rounded to the nearest; a carry moves on to the next power.
    let up = (bits >> 41) & 1;
    u16::try_from(code + up).unwrap_or(u16::MAX)
}

/// The value of two bytes.
#[must_use]
pub(super) fn widen(code: u16) -> f64 {
    if code == 0 {
        return 0.0;
    }
    let power = i64::from(code >> 10) + LOWEST + 1_023;
    f64::from_bits((power as u64) << 52 | u64::from(code & 0x3ff) << 42)
}

/// The newest values, at most so many.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ring(VecDeque<u16>);

impl Ring {
    /// Takes in a value; the oldest goes when there are more than `most`.
    pub(super) fn push(&mut self, value: f64, most: usize) {
        self.0.push_back(squeeze(value));
        while self.0.len() > most {
            self.0.pop_front();
        }
    }

    /// How many.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The values, oldest first.
    #[must_use]
    pub(super) fn values(&self) -> Vec<f64> {
        self.0.iter().map(|code| widen(*code)).collect()
    }

    /// The newest `n`, oldest first.
    #[must_use]
    pub(super) fn newest(&self, n: usize) -> Vec<f64> {
        self.0.iter().skip(self.0.len().saturating_sub(n)).map(|code| widen(*code)).collect()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// As stored.
    pub(super) fn codes(&self) -> impl ExactSizeIterator<Item = u16> + '_ {
        self.0.iter().copied()
    }

    /// From what was stored.
    #[must_use]
    pub(super) fn from_codes(codes: Vec<u16>) -> Self {
        Self(codes.into())
    }
}
