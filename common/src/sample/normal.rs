//! Bringing a tick within the caps before it travels, and telling how it may.

use std::borrow::Cow;

use super::varint::cut;
use super::{MAX_PROCESSES, MAX_UNITS, NOT_OBSERVED, Text, Tick};

impl Tick {
    /// Whether it can be written as a difference to `last`: the same columns, of which the same are observed.
    pub(super) fn can_follow(&self, last: &Self) -> bool {
        let same = |(a, b): (&i64, &i64)| (*a == NOT_OBSERVED) == (*b == NOT_OBSERVED);
        last.values.len() == self.values.len()
            && self.seq > last.seq
            && last.values.iter().zip(&self.values).all(same)
    }

    /// The tick within the caps, as it travels: units by name and without doubles, long texts cut,
    /// rows beyond the caps left out. Borrowed when it is so already.
    #[must_use]
    pub fn normal(&self) -> Cow<'_, Self> {
        let short = |text: &Text| text.len() <= super::MAX_TEXT;
        let is_normal = self.processes.len() <= MAX_PROCESSES
            && self.units.len() <= MAX_UNITS
            && self.units.windows(2).all(|pair| pair[0].name < pair[1].name)
            && self.processes.iter().all(|p| [&p.comm, &p.user, &p.unit, &p.args].into_iter().all(short))
            && self.units.iter().all(|u| [&u.name, &u.sub, &u.result].into_iter().all(short));
        if is_normal {
            return Cow::Borrowed(self);
        }
        let mut tick = self.clone();
        let shorten = |text: &mut Text| {
            if cut(text).len() < text.len() {
                *text = Text::from(cut(text));
            }
        };
        tick.processes.truncate(MAX_PROCESSES);
        for p in &mut tick.processes {
            [&mut p.comm, &mut p.user, &mut p.unit, &mut p.args].into_iter().for_each(shorten);
        }
        for u in &mut tick.units {
            [&mut u.name, &mut u.sub, &mut u.result].into_iter().for_each(shorten);
        }
        tick.units.sort_by(|a, b| a.name.cmp(&b.name));
        tick.units.dedup_by(|a, b| a.name == b.name);
        tick.units.truncate(MAX_UNITS);
        Cow::Owned(tick)
    }
}
