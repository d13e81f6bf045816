//! Looks at remote file systems from a thread of their own, so that a dead server stops only that.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Space;

/// The kernel's call needs little stack, and there may be a thread for each share.
const STACK: usize = 64 * 1024;

/// The thread of one mount and its latest answer.
#[derive(Debug)]
pub(super) struct Probe {
    ask: SyncSender<()>,
    answer: Arc<Mutex<Option<(Instant, Space)>>>,
}

impl Probe {
    /// Starts the thread; `None` when the system has none left. It ends when the probe is dropped, or as
    /// soon as the server answers after that.
    pub(super) fn start(path: PathBuf) -> Option<Self> {
        let (ask, asked) = sync_channel(1);
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let work = move || {
            while asked.recv().is_ok() {
                let space = Space::of(&path).map(|space| (Instant::now(), space));
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = space;
            }
        };
        std::thread::Builder::new().name("statvfs".into()).stack_size(STACK).spawn(work).ok()?;
        Some(Self { ask, answer })
    }

    /// Asks for a new answer and returns the latest one, if it is not older than `age`.
    pub(super) fn look(&self, age: Duration) -> Option<Space> {
        // A full channel means that the last question is still open.
        let _ = self.ask.try_send(());
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.filter(|(at, _)| at.elapsed() <= age).map(|(_, space)| space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_answers_later_and_forgets_what_is_old() {
        let probe = Probe::start("/".into()).unwrap();
        let minute = Duration::from_secs(60);
        let mut space = probe.look(minute);
        for _ in 0..100 {
            if space.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            space = probe.look(minute);
        }
        assert!(space.unwrap().total > 0);
        assert_eq!(probe.look(Duration::ZERO), None);
    }
}
