//! The running steps, and whether each still runs: what the probes tell.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::web::api::health::{Part, PartState, Parts};

/// A step and whether it runs.
type Watched = (&'static str, Arc<AtomicBool>);

/// All steps of one controller.
#[derive(Debug, Default)]
pub(super) struct Steps {
    tasks: JoinSet<()>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// Notes the end of a step, also when it panics.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Steps {
    /// Starts a step. Without it the controller is not ready.
    pub(super) fn start(&mut self, name: &'static str, step: impl Future<Output = ()> + Send + 'static) {
        let runs = Arc::new(AtomicBool::new(true));
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push((name, runs.clone()));
        self.tasks.spawn(async move {
            let _running = Running(runs);
            step.await;
        });
    }

    /// How the steps are, whenever it is asked.
    pub(super) fn parts(&self) -> Parts {
        let watched = self.watched.clone();
        Arc::new(move || {
            let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
            let part = |(name, runs): &Watched| {
                let state = if runs.load(Ordering::Relaxed) { PartState::Ok } else { PartState::Missing };
                Part::needed(name, state)
            };
            watched.iter().map(part).collect()
        })
    }

    /// Waits for a step to end, and gives its name: while nobody asked it to, that is a fault.
    pub(super) async fn lost(&mut self) -> &'static str {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().find(|(_, runs)| !runs.load(Ordering::Relaxed)).map_or("a step", |(name, _)| name)
    }

    /// Waits until all steps have ended, at most so long; tells whether they did.
    pub(super) async fn end(&mut self, at_most: Duration) -> bool {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(at_most, all).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_ends_or_panics_is_told_missing() {
        let mut steps = Steps::default();
        steps.start("lasting", std::future::pending());
        steps.start("ending", async {});
        steps.start("panicking", async { panic!("on purpose") });
        while steps.tasks.len() > 1 {
            let _ = steps.tasks.join_next().await;
        }
        let states: Vec<_> = (steps.parts())().into_iter().map(|part| (part.name, part.state)).collect();
        let (ok, missing) = (PartState::Ok, PartState::Missing);
        assert_eq!(states, [("lasting", ok), ("ending", missing), ("panicking", missing)]);
        assert!(!steps.end(Duration::from_millis(10)).await);
        steps.start("failing", async { panic!("on purpose") });
        assert_eq!(steps.lost().await, "ending");
    }
}
