//! So many questions at the same time; of those that wait, the most severe goes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sysop_common::finding::Severity;
use tokio::sync::oneshot;

use super::error::AskError;

/// Most that wait; beyond it the least severe is turned away.
const WAITING: usize = 64;

/// The queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: u32,
    count: u64,
    waiting: BTreeMap<(Reverse<Severity>, u64), oneshot::Sender<Place>>,
}

/// A place among those that are served; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Queue>);

impl Queue {
    pub(super) fn new(places: u32) -> Self {
        Self(Arc::new(Mutex::new(State { free: places, count: 0, waiting: BTreeMap::new() })))
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, severity: Severity) -> Result<Place, AskError> {
        let turn = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Some(self.clone())));
            }
            state.waiting.retain(|_, sender| !sender.is_closed());
            if state.waiting.len() >= WAITING {
                let last = state.waiting.last_entry().filter(|last| last.key().0.0 < severity);
                // Dropping its sender tells it.
                last.ok_or(AskError::Busy)?.remove();
            }
            let (sender, turn) = oneshot::channel();
            state.count += 1;
            let number = state.count;
            state.waiting.insert((Reverse(severity), number), sender);
            turn
        };
        turn.await.map_err(|_| AskError::Busy)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        let mut place = Self(Some(queue.clone()));
        loop {
            let mut state = queue.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((_, next)) = state.waiting.pop_first() else {
                state.free += 1;
                place.0 = None;
                return;
            };
            drop(state);
            match next.send(place) {
                Ok(()) => return,
                // It went away while it waited.
                Err(back) => place = back,
            }
        }
    }
}
