//! The thread that looks at the host, so that a slow sensor delays nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::time::ClockId;
use sysop_common::time::UnixMs;
use tokio::sync::watch;

use crate::sample::Sampler;
use crate::spool::Spool;

/// The second sample comes this soon after the first: rates need two.
const FIRST: Duration = Duration::from_secs(1);
/// Stack of a thread: sensors and writer keep nothing large on it.
const STACK: usize = 512 << 10;

struct Control {
    interval: Duration,
    stop: bool,
}

#[derive(Default)]
struct Beat {
    /// Samples taken.
    count: AtomicU64,
}

/// Counts samples, for whoever watches that they go on.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Beat>);

impl Pulse {
    /// Samples taken so far.
    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

struct Shared {
    control: Mutex<Control>,
    changed: Condvar,
    beat: Arc<Beat>,
}

impl Shared {
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's handle.
pub(super) struct Sampling {
    shared: Arc<Shared>,
}

impl Sampling {
    /// Starts to sample into `spool`.
    pub(super) fn start(sampler: Sampler, spool: Spool, interval: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            control: Mutex::new(Control { interval, stop: false }),
            changed: Condvar::new(),
            beat: Arc::default(),
        });
        let theirs = shared.clone();
        thread("sysop-sample", move || sample(sampler, &spool, &theirs))?;
        Ok(Self { shared })
    }

    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.shared.beat.clone())
    }

    /// Asks the thread to end after the look that is under way.
    pub(super) fn stop(&self) {
        self.shared.control().stop = true;
        self.shared.changed.notify_all();
    }

    /// Follows the interval that the controller sets, until nobody sets it any more.
    pub(super) async fn follow(&self, mut interval: watch::Receiver<Duration>) {
        while interval.changed().await.is_ok() {
            let interval = *interval.borrow_and_update();
            tracing::info!(?interval, "interval between samples");
            self.shared.control().interval = interval;
            self.shared.changed.notify_all();
        }
        std::future::pending().await
    }
}

/// A thread with a name and a small stack.
pub(super) fn thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body)
}

/// The kernel's id of this boot, empty where it cannot be read.
pub(super) fn boot_id(root: &Path) -> String {
    let text = std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap_or_default();
    text.trim().chars().take(64).collect()
}

/// When a sample was taken, by both clocks, and the interval in force then.
#[derive(Clone, Copy)]
struct Look {
    at: UnixMs,
    boot: Duration,
    interval: Duration,
}

impl Look {
    /// Whether `next` is so late that samples are missing, by the longer of both intervals: in between
    /// the interval may have changed.
    fn is_stalled_until(&self, next: &Self) -> bool {
        let longest = self.interval.max(next.interval);
        next.boot.saturating_sub(self.boot) > longest * 3 + Duration::from_secs(2)
    }
}

fn sample(mut sampler: Sampler, spool: &Spool, shared: &Shared) {
    let (mut due, mut last): (Instant, Option<Look>) = (Instant::now(), None);
    while let Some(interval) = wait(shared, &mut due) {
        let now = UnixMs::from_system(SystemTime::now());
        let boot = since_boot();
        let this = Look { at: now, boot, interval };
        if let Some(last) = last.filter(|last| last.is_stalled_until(&this)) {
            spool.stalled(last.at.min(now), now);
        }
        sampler.set_spool_bytes(spool.depth().bytes);
        let observation = sampler.tick(spool.next_seq(), now);
        spool.append(&observation.schema, observation.tick);
        shared.beat.count.fetch_add(1, Ordering::Relaxed);
        let first = last.replace(this).is_none();
        due += if first { FIRST.min(interval) } else { interval };
        // After a look that took too long, the next comes a whole interval later, not all at once.
        if due < Instant::now() {
            due = Instant::now() + interval;
        }
    }
}

/// Sleeps until `due`; returns the interval in force, or `None` when the thread is to end. A new
/// interval counts from the last sample.
fn wait(shared: &Shared, due: &mut Instant) -> Option<Duration> {
    let mut control = shared.control();
    loop {
        if control.stop {
            return None;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(control.interval);
        }
        let before = control.interval;
        control = shared.changed.wait_timeout(control, left).unwrap_or_else(PoisonError::into_inner).0;
        if control.interval != before && left > FIRST {
            *due = (*due + control.interval).checked_sub(before).unwrap_or(*due);
        }
    }
}

/// Time since boot, with the time in which the host was suspended.
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_changes_is_no_stall() {
        let look = |boot, interval| Look {
            at: UnixMs(0),
            boot: Duration::from_secs(boot),
            interval: Duration::from_secs(interval),
        };
        assert!(!look(0, 60).is_stalled_until(&look(41, 10)));
        assert!(!look(0, 10).is_stalled_until(&look(60, 60)));
        assert!(!look(0, 10).is_stalled_until(&look(32, 10)));
        assert!(look(0, 10).is_stalled_until(&look(33, 10)));
    }
}
