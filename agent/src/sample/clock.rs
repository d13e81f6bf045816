//! Whether the clock is disciplined, as the kernel knows it from the time daemon.

use sysop_common::metric;

use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor};

/// The clock sensor. Looks once a minute: the kernel's estimate changes with each poll of a server.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<State>,
}

/// What the kernel knows about its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    offset_us: i64,
    synced: bool,
}

impl Sensor for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            // Sandboxes may forbid even reading it: then it is not observed.
            self.last = query();
        }
        out.put_signed(metric::CLOCK_OFFSET, "", self.last.map(|state| state.offset_us));
        out.put(metric::CLOCK_SYNCED, self.last.map(|state| u64::from(state.synced)));
        Ok(())
    }
}

fn query() -> Option<State> {
    // SAFETY: `timex` is plain integers, for which zero is valid; with `modes` 0 the call only fills
    // the struct that the pointer is good for.
    let (time, state) = unsafe {
        let mut time: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&raw mut time);
        (time, state)
    };
    if state < 0 {
        return None;
    }
    let nanoseconds = time.status & libc::STA_NANO != 0;
    #[allow(clippy::useless_conversion, reason = "the kernel's long has 32 bits on small machines")]
    let offset = i64::from(time.offset);
    Some(State {
        offset_us: if nanoseconds { offset / 1000 } else { offset },
        synced: time.status & libc::STA_UNSYNC == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_can_be_asked_without_rights() {
        let state = query().unwrap();
        assert!(state.offset_us.abs() < 3_600_000_000);
    }
}
