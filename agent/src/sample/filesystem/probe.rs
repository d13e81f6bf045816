//! Looks at remote file systems from a thread of their own, so that a dead server stops only that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Space;

/// The kernel's call needs little stack, and there may be a thread for each share.
const STACK: usize = 64 * 1024;
/// Most remote file systems, each of which needs a thread.
const MAX: usize = 16;

/// The probes of the whole process: a thread that hangs outlives whoever asked, so whoever asks next,
/// such as a reading, must find it instead of starting another.
static PROBES: Mutex<BTreeMap<PathBuf, Probe>> = Mutex::new(BTreeMap::new());

fn probes() -> MutexGuard<'static, BTreeMap<PathBuf, Probe>> {
    PROBES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The latest answer about the file system at `path`, if it is not older than `age`; asks for a new one.
pub(super) fn look(path: &Path, age: Duration) -> Option<Space> {
    let mut probes = probes();
    if !probes.contains_key(path) {
        if probes.len() >= MAX {
            return None;
        }
        probes.insert(path.to_owned(), Probe::start(path.to_owned())?);
    }
    probes.get(path)?.look(age)
}

/// Forgets the probes of file systems that are not mounted any more.
pub(super) fn keep_only(mounted: impl Fn(&Path) -> bool) {
    probes().retain(|path, _| mounted(path));
}

/// The thread of one mount and its latest answer.
#[derive(Debug)]
struct Probe {
    ask: SyncSender<()>,
    answer: Arc<Mutex<Option<(Instant, Space)>>>,
}

impl Probe {
    /// Starts the thread; `None` when the system has none left. It ends when the probe is dropped, or as
    /// soon as the server answers after that.
    fn start(path: PathBuf) -> Option<Self> {
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
    fn look(&self, age: Duration) -> Option<Space> {
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

    #[test]
    fn whoever_asks_next_finds_the_thread_and_its_answer() {
        let minute = Duration::from_secs(60);
        let known = |path: &Path| probes().contains_key(path);
        // Another spelling, so that no other test has it.
        let path = Path::new("/./.");
        for _ in 0..100 {
            if look(path, minute).is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(known(path));
        assert!(look(path, minute).is_some(), "the answer is there at once");
    }
}
