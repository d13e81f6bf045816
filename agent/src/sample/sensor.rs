//! What a sensor is: something that looks at one part of the host and may fail alone.
//!
//! A sensor may read files below its roots, use system calls and local sockets, and ask the
//! host's own name servers. It never runs a
//! command, never needs root, never writes. What it may not see it reports as not observed.

use std::time::Duration;

use sysop_common::metric::MetricId;
use sysop_common::sample::{Column, MAX_TEXT, NOT_OBSERVED, Process, Unit};

use super::read::ReadError;

/// One part of the host.
pub(crate) trait Sensor: Send {
    /// Name in logs and in the label of `agent.sensor_time`.
    fn name(&self) -> &'static str;

    /// Looks once. After an error everything that was put in this look is not observed.
    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError>;
}

/// What the sensors of one look share.
#[derive(Debug, Default)]
pub(crate) struct Cycle {
    /// Number of the look since the agent's start, from 0.
    pub(crate) number: u64,
    /// Whether slow facts are due: in the first look, then once a minute.
    pub(crate) slow: bool,
    /// Time since the look before; zero in the first.
    pub(crate) elapsed: Duration,
    /// Forks since boot, from the CPU sensor: without a new one there is no new process.
    pub(crate) forks: Option<u64>,
    /// The pid given out last, from the load sensor.
    pub(crate) last_pid: Option<u64>,
    /// CPU time spent in processes since boot in ms, from the CPU sensor.
    pub(crate) busy_ms: Option<u64>,
    /// Whether the kernel killed something for memory since the look before.
    pub(crate) oom: bool,
    /// How each sensor did that has already looked.
    pub(crate) health: Vec<Health>,
    /// Bytes in the agent's spool, as told by the caller.
    pub(crate) spool_bytes: Option<u64>,
}

/// How a sensor did in a look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    pub(crate) sensor: &'static str,
    pub(crate) took: Duration,
    pub(crate) failed: bool,
}

/// What a sensor saw, kept from look to look so that a steady layout costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Output {
    columns: Vec<Column>,
    values: Vec<i64>,
    at: usize,
    /// The new layout, from the first column on that differs from the last look's.
    changed: Option<Vec<Column>>,
    /// Top processes; empty for all sensors but one.
    pub(crate) processes: Vec<Process>,
    /// Units; empty for all sensors but one.
    pub(crate) units: Vec<Unit>,
}

impl Output {
    /// Begins a look.
    pub(crate) fn begin(&mut self) {
        self.at = 0;
        self.changed = None;
        self.values.clear();
        self.processes.clear();
        self.units.clear();
    }

    /// A host-wide value.
    pub(crate) fn put(&mut self, metric: MetricId, value: Option<u64>) {
        self.put_labelled(metric, "", value);
    }

    /// A value of one labelled thing. Numbers beyond `i64` are not observed: no counter gets there.
    pub(crate) fn put_labelled(&mut self, metric: MetricId, label: &str, value: Option<u64>) {
        self.put_signed(metric, label, value.and_then(|value| i64::try_from(value).ok()));
    }

    /// A value that may be negative.
    pub(crate) fn put_signed(&mut self, metric: MetricId, label: &str, value: Option<i64>) {
        let label = clip(label, MAX_TEXT);
        let same = self.changed.is_none()
            && self
                .columns
                .get(self.at)
                .is_some_and(|column| column.metric == metric && column.label == label);
        if !same {
            let Some(column) = Column::new(metric, label) else { return };
            let kept = &self.columns[..self.at.min(self.columns.len())];
            self.changed.get_or_insert_with(|| kept.to_vec()).push(column);
        }
        self.values.push(value.unwrap_or(NOT_OBSERVED));
        self.at += 1;
    }

    /// Ends a look that went well; says whether the layout changed.
    pub(crate) fn commit(&mut self) -> bool {
        if let Some(columns) = self.changed.take() {
            self.columns = columns;
            return true;
        }
        let shorter = self.at < self.columns.len();
        self.columns.truncate(self.at);
        shorter
    }

    /// Ends a look that failed: the layout stays as it was, nothing is observed.
    pub(crate) fn fail(&mut self) {
        self.begin();
        self.values.resize(self.columns.len(), NOT_OBSERVED);
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn values(&self) -> &[i64] {
        &self.values
    }
}

/// `text` cut to at most `cap` bytes at a character boundary.
pub(crate) fn clip(text: &str, cap: usize) -> &str {
    if text.len() <= cap {
        return text;
    }
    let end = (0..=cap).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// Bytes from the kernel as text: invalid UTF-8 and control characters replaced, cut to [`MAX_TEXT`].
pub(crate) fn clean(bytes: &[u8]) -> String {
    // Longer input cannot show: every replacement is as long as what it replaces, or longer.
    let bytes = &bytes[..bytes.len().min(MAX_TEXT * 2)];
    let text: String =
        String::from_utf8_lossy(bytes).chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect();
    clip(&text, MAX_TEXT).to_owned()
}

/// Characters that could change how the text around them is shown: controls, and marks that turn the
/// direction of writing.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysop_common::metric;

    #[test]
    fn layout_changes_only_when_columns_do() {
        let mut out = Output::default();
        let look = |out: &mut Output, labels: &[&str]| {
            out.begin();
            labels.iter().for_each(|label| out.put_labelled(metric::DISK_READS, label, Some(1)));
            out.commit()
        };
        assert!(look(&mut out, &["sda", "sdb"]));
        assert!(!look(&mut out, &["sda", "sdb"]));
        assert!(look(&mut out, &["sda"]));
        assert!(look(&mut out, &["sdb", "sda"]));
        assert_eq!(out.columns().iter().map(|c| c.label.as_str()).collect::<Vec<_>>(), ["sdb", "sda"]);
        assert!(!look(&mut out, &["sdb", "sda"]));
        assert_eq!(out.values(), [1, 1]);
    }

    #[test]
    fn failed_look_keeps_its_columns_unobserved() {
        let mut out = Output::default();
        out.begin();
        out.put(metric::LOAD_1, Some(5));
        out.put(metric::LOAD_5, Some(u64::MAX));
        assert!(out.commit());
        assert_eq!(out.values(), [5, NOT_OBSERVED]);
        out.begin();
        out.put(metric::MEMORY_FREE, Some(5));
        out.fail();
        assert_eq!(out.values(), [NOT_OBSERVED, NOT_OBSERVED]);
        assert_eq!(out.columns()[0].metric, metric::LOAD_1);
    }

    #[test]
    fn text_from_the_kernel_is_clean_and_short() {
        assert_eq!(clean(b"a\nb\x1b[2Jc"), "a\u{fffd}b\u{fffd}[2Jc");
        assert_eq!(clean("x\u{202e}y".as_bytes()), "x\u{fffd}y");
        let long = "ä".repeat(200);
        assert!(clean(long.as_bytes()).len() <= MAX_TEXT);
        assert!(clean(&[0xff; 500]).len() <= MAX_TEXT);
        assert_eq!(clip("aé", 2), "a");
    }
}
