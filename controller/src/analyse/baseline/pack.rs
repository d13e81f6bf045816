//! Baselines as bytes. Numbers are little-endian; a version byte leads.

use super::MAX_SERIES;
use super::learn::{Fit, Learned, WEEK};
use super::ring::Ring;
use super::signal::Signal;
use crate::analyse::statistics::cusum::Cusum;
use crate::analyse::statistics::peaks::{MAX_PEAKS, Peaks};

const VERSION: u8 = 1;
/// Longest ring, and longest label, that is read back.
const MAX_RING: usize = 144;
const MAX_LABEL: usize = 160;

pub(super) fn encode(minute: i64, series: &[Learned]) -> Vec<u8> {
    let mut out = Writer(vec![VERSION]);
    out.long(minute);
    out.byte(series.len().min(MAX_SERIES));
    for learned in series.iter().take(MAX_SERIES) {
        out.series(learned);
    }
    out.0
}

pub(super) fn decode(bytes: &[u8]) -> Option<(i64, Vec<Learned>)> {
    let mut from = Reader(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let minute = from.long()?;
    let n = usize::from(from.byte()?);
    let series = (0..n.min(MAX_SERIES)).map(|_| from.series()).collect::<Option<Vec<_>>>()?;
    Some((minute, series))
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, value: usize) {
        self.0.push(u8::try_from(value).unwrap_or(u8::MAX));
    }

    fn short(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn long(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn ring(&mut self, ring: &Ring) {
        self.byte(ring.len().min(MAX_RING));
        ring.codes().take(MAX_RING).for_each(|code| self.short(code));
    }

    fn series(&mut self, s: &Learned) {
        self.byte(s.signal as usize);
        let mut end = s.label.len().min(MAX_LABEL);
        while !s.label.is_char_boundary(end) {
            end -= 1;
        }
        self.byte(end);
        self.0.extend_from_slice(&s.label.as_bytes()[..end]);
        [s.first, s.last, s.fitted, s.calibrated].into_iter().for_each(|value| self.long(value));
        [&s.recent, &s.ten, &s.day, &s.aside].into_iter().for_each(|ring| self.ring(ring));
        self.byte(usize::from(!s.week.is_empty()));
        for (level, weeks) in &s.week {
            self.short(*level);
            self.byte(usize::from(*weeks));
        }
        let (fit, sums) = (&s.fit, &s.sums);
        for value in [
            fit.center,
            fit.sigma,
            fit.phi,
            fit.threshold,
            fit.level,
            sums.up,
            sums.down,
            sums.average,
            f64::from(sums.up_for),
            f64::from(sums.down_for),
            s.before,
            s.value,
            s.z,
            s.odds,
            s.peaks.threshold,
            s.peaks.seen,
        ] {
            self.float(value);
        }
        self.byte(usize::from(fit.season) | usize::from(s.hits) << 1);
        self.byte(s.peaks.above.len().min(MAX_PEAKS));
        let above = s.peaks.above.iter().take(MAX_PEAKS);
        // Peaks are kept at this precision.
        above.for_each(|value| self.0.extend_from_slice(&(*value as f32).to_le_bytes()));
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn long(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    /// Only numbers: what is not one would spread.
    fn float(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes).filter(|value| value.is_finite())
    }

    fn ring(&mut self) -> Option<Ring> {
        let n = usize::from(self.byte()?);
        (0..n).map(|_| self.short()).collect::<Option<Vec<_>>>().map(Ring::from_codes)
    }

    fn series(&mut self) -> Option<Learned> {
        let signal = *Signal::ALL.get(usize::from(self.byte()?))?;
        let length = usize::from(self.byte()?);
        let label = std::str::from_utf8(self.0.get(..length)?).ok()?.to_owned();
        self.0 = self.0.get(length..)?;
        let [first, last, fitted, calibrated] = [self.long()?, self.long()?, self.long()?, self.long()?];
        let [recent, ten, day, aside] = [self.ring()?, self.ring()?, self.ring()?, self.ring()?];
        let hours = if self.byte()? == 0 { 0 } else { WEEK };
        let week = (0..hours).map(|_| Some((self.short()?, self.byte()?))).collect::<Option<Vec<_>>>()?;
        let mut f = [0.0; 16];
        for value in &mut f {
            *value = self.float()?;
        }
        let flags = self.byte()?;
        let peaks = usize::from(self.byte()?).min(MAX_PEAKS);
        let single = |from: &mut Self| from.take().map(f32::from_le_bytes).map(f64::from);
        let above =
            (0..peaks).map(|_| single(self).filter(|value| value.is_finite())).collect::<Option<Vec<_>>>()?;
        let fit = Fit {
            center: f[0],
            sigma: f[1],
            phi: f[2],
            threshold: f[3],
            level: f[4],
            season: flags & 1 != 0,
        };
        let sums = Cusum { up: f[5], down: f[6], average: f[7], up_for: f[8] as u32, down_for: f[9] as u32 };
        Some(Learned {
            signal,
            label,
            first,
            last,
            recent,
            ten,
            day,
            aside,
            week,
            fit,
            fitted,
            calibrated,
            sums,
            before: f[10],
            value: f[11],
            z: f[12],
            odds: f[13],
            peaks: Peaks { threshold: f[14], above, seen: f[15] },
            hits: flags >> 1,
        })
    }
}
