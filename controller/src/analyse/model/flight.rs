//! Identical questions at the same time are sent once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::ask::Answer;
use super::error::AskError;

type Outcome = Result<Answer, AskError>;
/// Digest of a question.
pub(super) type FlightKey = [u8; 32];

/// Questions under way. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<FlightKey, watch::Receiver<Option<Outcome>>>>>);

impl Flights {
    /// Joins the question under way, or starts `ask`, which goes on when the caller goes away: others may
    /// wait for it, and it is paid for.
    pub(super) async fn join<F>(&self, key: FlightKey, ask: impl FnOnce() -> F) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (mut receiver, shared) = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&key) {
                Some(receiver) => (receiver.clone(), true),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    flights.insert(key, receiver.clone());
                    let landing = Landing { flights: self.clone(), key };
                    let ask = ask();
                    tokio::spawn(async move {
                        let outcome = ask.await;
                        drop(landing);
                        sender.send_replace(Some(outcome));
                    });
                    (receiver, false)
                }
            }
        };
        let outcome = match receiver.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        // It ends without an outcome only when the controller stops.
        let mut answer = outcome.unwrap_or(Err(AskError::Busy))?;
        answer.shared = shared;
        Ok(answer)
    }
}

/// Takes a question off the list, also when its task is dropped.
struct Landing {
    flights: Flights,
    key: FlightKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
