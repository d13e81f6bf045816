//! What the sample database holds, read row by row with eyes of its own: not by the code that is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use sysop_common::ids::HostId;

/// Numbers that stand in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u64,
    last: u64,
    from: i64,
    to: i64,
}

/// Samples that will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub epoch: i64,
    /// 0 and 0 when no number was given to them.
    pub first: u64,
    pub last: u64,
    pub from: i64,
    pub to: i64,
    pub reason: String,
}

/// All that is stored of one host.
#[derive(Debug, Default)]
pub struct Stored {
    /// Per epoch, by number.
    ranges: BTreeMap<i64, Vec<Range>>,
    parts: usize,
    pub gaps: Vec<Gap>,
}

/// What [`Stored::check`] counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Starts of the agent.
    pub epochs: usize,
    /// Stored samples.
    pub samples: u64,
    /// Numbers that are in gap records only.
    pub lost: u64,
    /// Stretches in columns.
    pub parts: usize,
}

/// Reads what a stopped controller left of `host` in its folder of data.
pub fn read(data: &Path, host: &str) -> Result<Stored> {
    let host: HostId = host.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(data.join("samples.db"));
        let mut db = options.connect().await?;
        let stored = read_all(&mut db, host.0.as_bytes()).await;
        db.close().await?;
        stored
    })
}

async fn read_all(db: &mut SqliteConnection, host: &[u8]) -> Result<Stored> {
    let mut stored = Stored::default();
    let parts: Vec<(i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT epoch, first_seq, last_seq, from_at, to_at, ticks FROM parts WHERE host = ? ORDER BY epoch, first_seq",
    )
    .bind(host)
    .fetch_all(&mut *db)
    .await?;
    stored.parts = parts.len();
    for (epoch, first, last, from, to, ticks) in parts {
        ensure!(last - first + 1 == ticks, "a part of {ticks} samples reaches from {first} to {last}");
        let range = Range { first: first as u64, last: last as u64, from, to };
        stored.ranges.entry(epoch).or_default().push(range);
    }
    let positions: Vec<(i64, i64)> = sqlx::query_as("SELECT epoch, seq FROM positions WHERE host = ?")
        .bind(host)
        .fetch_all(&mut *db)
        .await?;
    let in_parts: BTreeMap<i64, u64> =
        positions.into_iter().map(|(epoch, seq)| (epoch, seq as u64)).collect();
    for (epoch, seq, at) in tail(db, host).await? {
        // Rows stay in the tail for a while after they went into parts.
        if in_parts.get(&epoch).is_none_or(|done| seq > *done) {
            stored.ranges.entry(epoch).or_default().push(Range { first: seq, last: seq, from: at, to: at });
        }
    }
    stored.ranges.values_mut().for_each(|ranges| ranges.sort());
    let gaps: Vec<(i64, i64, i64, i64, i64, String)> = sqlx::query_as(
        "SELECT epoch, first_seq, last_seq, from_at, to_at, reason FROM gaps WHERE host = ? ORDER BY from_at",
    )
    .bind(host)
    .fetch_all(&mut *db)
    .await?;
    stored.gaps = gaps
        .into_iter()
        .map(|(epoch, first, last, from, to, reason)| Gap {
            epoch,
            first: first as u64,
            last: last as u64,
            from,
            to,
            reason,
        })
        .collect();
    Ok(stored)
}

/// Epoch, number and time of each frame of a host in the tail.
async fn tail(db: &mut SqliteConnection, host: &[u8]) -> Result<Vec<(i64, u64, i64)>> {
    let chains: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, epoch FROM chains WHERE host = ?").bind(host).fetch_all(&mut *db).await?;
    let epochs: BTreeMap<u64, i64> = chains.into_iter().map(|(id, epoch)| (id as u64, epoch)).collect();
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT at, body FROM tail ORDER BY id").fetch_all(&mut *db).await?;
    let mut frames = Vec::new();
    for (row_at, body) in rows {
        let mut rest = body.strip_prefix(&[1]).context("a row of the tail has another form")?;
        while !rest.is_empty() {
            let (chain, seq) = (unsigned(&mut rest)?, unsigned(&mut rest)?);
            let received = row_at + signed(&mut rest)?;
            let at = received + signed(&mut rest)?;
            let length = usize::try_from(unsigned(&mut rest)?)?;
            rest = rest.get(length..).context("a row of the tail ends too early")?;
            frames.extend(epochs.get(&chain).map(|epoch| (*epoch, seq, at)));
        }
    }
    Ok(frames)
}

/// LEB128.
fn unsigned(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, more) = rest.split_first().context("a number ends too early")?;
        *rest = more;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number does not end")
}

/// Zigzag.
fn signed(rest: &mut &[u8]) -> Result<i64> {
    let raw = unsigned(rest)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

impl Stored {
    /// Checks that each number of each epoch, from 1 to the last, is stored exactly once or in a gap
    /// record, and that no more than `silence_ms` pass without a sample or a gap record.
    pub fn check(&self, silence_ms: i64) -> Result<Count> {
        let mut count = Count { epochs: self.ranges.len(), samples: 0, lost: 0, parts: self.parts };
        let epochs: BTreeSet<i64> =
            self.ranges.keys().copied().chain(self.numbered().map(|gap| gap.epoch)).collect();
        for epoch in epochs {
            let stored = self.ranges.get(&epoch).into_iter().flatten().map(|r| (r.first, r.last, true));
            let lost =
                self.numbered().filter(|gap| gap.epoch == epoch).map(|gap| (gap.first, gap.last, false));
            let mut all: Vec<(u64, u64, bool)> = stored.chain(lost).collect();
            all.sort_unstable();
            let mut next = 1;
            for (first, last, is_stored) in all {
                ensure!(
                    first >= next,
                    "epoch {epoch:x}: number {first} is stored twice, or stored and in a gap"
                );
                ensure!(first == next, "epoch {epoch:x}: {next} to {} are nowhere", first - 1);
                let numbers = last - first + 1;
                if is_stored {
                    count.samples += numbers
                } else {
                    count.lost += numbers
                }
                next = last + 1;
            }
        }
        self.check_times(silence_ms)?;
        Ok(count)
    }

    fn check_times(&self, silence_ms: i64) -> Result<()> {
        let mut spans: Vec<(i64, i64)> =
            self.ranges.values().flatten().map(|range| (range.from, range.to)).collect();
        spans.sort_unstable();
        let mut until = spans.first().map_or(0, |span| span.0);
        for (from, to) in spans {
            let known = |gap: &&Gap| gap.from <= from && gap.to >= until;
            if from - until > silence_ms && !self.gaps.iter().any(|gap| known(&gap)) {
                bail!(
                    "{} ms up to {from} are without a sample and without a gap record: {:#?}",
                    from - until,
                    self.gaps
                );
            }
            until = until.max(to);
        }
        Ok(())
    }

    fn numbered(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| gap.first > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(ranges: &[(u64, u64)], gaps: &[(u64, u64)]) -> Stored {
        let range = |&(first, last): &(u64, u64)| Range {
            first,
            last,
            from: first as i64 * 1_000,
            to: last as i64 * 1_000,
        };
        let gap = |&(first, last): &(u64, u64)| Gap {
            epoch: 7,
            first,
            last,
            from: first as i64 * 1_000 - 1_000,
            to: last as i64 * 1_000 + 1_000,
            reason: "spool_full".to_owned(),
        };
        Stored {
            ranges: [(7, ranges.iter().map(range).collect())].into(),
            gaps: gaps.iter().map(gap).collect(),
            ..Stored::default()
        }
    }

    #[test]
    fn a_number_that_is_nowhere_or_twice_is_found() {
        let counted = |ranges: &[(u64, u64)], gaps: &[(u64, u64)]| {
            let count = stored(ranges, gaps).check(5_000).map_err(|error| error.to_string())?;
            Ok::<_, String>((count.samples, count.lost))
        };
        assert_eq!(counted(&[(1, 10), (11, 11)], &[]), Ok((11, 0)));
        assert_eq!(counted(&[(1, 10), (31, 32)], &[(11, 30)]), Ok((12, 20)));
        for (ranges, gaps, what) in [
            (&[(2, 10)][..], &[][..], "1 to 1 are nowhere"),
            (&[(1, 10), (12, 12)], &[], "11 to 11 are nowhere"),
            (&[(1, 10), (10, 12)], &[], "10 is stored twice"),
            (&[(1, 10), (11, 12)], &[(12, 13)], "12 is stored twice, or stored and in a gap"),
        ] {
            let error = counted(ranges, gaps).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn time_without_a_sample_must_be_in_a_gap_record() {
        let mut stored = stored(&[(1, 10)], &[]);
        stored.ranges.insert(8, vec![Range { first: 1, last: 5, from: 20_000, to: 25_000 }]);
        assert!(stored.check(5_000).unwrap_err().to_string().contains("without a gap record"));
        let (from, to) = (10_500, 19_500);
        stored.gaps = vec![Gap { epoch: 8, first: 0, last: 0, from, to, reason: "agent_down".to_owned() }];
        assert!(stored.check(5_000).is_ok());
    }
}
