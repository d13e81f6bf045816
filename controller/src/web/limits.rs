//! Bounds of a request: size, time, depth, how many at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Problem;

/// Most bytes of all headers of a request together.
pub const HEADER_BYTES: usize = 16 * 1024;
/// Most bytes of a body.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Most bytes of a form.
pub const FORM_BYTES: usize = 64 * 1024;
/// Deepest nesting of a JSON body.
pub const JSON_DEPTH: usize = 64;
/// Time for the headers of a request to come.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
/// Time for a request to be read and answered; a stream counts until it begins.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);
/// Connections at a time.
pub const CONNECTIONS: usize = 2048;
/// Connections of one network at a time; a listed proxy has no such bound.
pub const CONNECTIONS_EACH: u32 = 128;
/// Requests at a time.
const REQUESTS: usize = 512;
/// Requests at a time of those who are not signed in.
const REQUESTS_STRANGERS: usize = 256;
/// Requests of one user or token at a time.
const REQUESTS_EACH: u32 = 32;
/// Streams at a time.
const STREAMS: usize = 512;
/// Streams of one user or token at a time: one per open tab.
const STREAMS_EACH: u32 = 16;

/// A count of what goes on, in all and for each one who asks.
#[derive(Debug, Clone)]
pub struct Counter {
    all: Arc<Semaphore>,
    each: Arc<Mutex<HashMap<String, u32>>>,
    most_each: u32,
    what: &'static str,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    _all: OwnedSemaphorePermit,
    each: Arc<Mutex<HashMap<String, u32>>>,
    key: String,
}

impl Counter {
    fn new(all: usize, most_each: u32, what: &'static str) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each: Arc::default(), most_each, what }
    }

    /// Counts requests.
    #[must_use]
    pub fn of_requests() -> Self {
        Self::new(REQUESTS, REQUESTS_EACH, "requests")
    }

    /// Counts requests of those who are not signed in.
    #[must_use]
    pub fn of_strangers() -> Self {
        Self::new(REQUESTS_STRANGERS, REQUESTS_EACH, "requests")
    }

    /// Counts connections of each network.
    #[must_use]
    pub fn of_connections() -> Self {
        Self::new(CONNECTIONS, CONNECTIONS_EACH, "connections")
    }

    /// Counts streams.
    #[must_use]
    pub fn of_streams() -> Self {
        Self::new(STREAMS, STREAMS_EACH, "live streams")
    }

    /// A place for `key`.
    ///
    /// # Errors
    /// When all places, or all of `key`, are taken.
    pub fn take(&self, key: &str) -> Result<Place, Problem> {
        let all = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable(format!("too many {} at once", self.what)))?;
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let count = each.entry(key.to_owned()).or_insert(0);
        if *count >= self.most_each {
            return Err(Problem::too_many(format!("too many {} of yours at once", self.what), 2));
        }
        *count += 1;
        drop(each);
        Ok(Place { _all: all, each: Arc::clone(&self.each), key: key.to_owned() })
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.each.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = each.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                each.remove(&self.key);
            }
        }
    }
}

/// Whether a JSON text is nested deeper than [`JSON_DEPTH`]; looked at before anything is built of it.
#[must_use]
pub fn too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json {
        match (in_text, *byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_places_come_back() {
        let counter = Counter::new(3, 2, "tests");
        let places: Vec<_> = (0..2).map(|_| counter.take("ann").unwrap()).collect();
        assert_eq!(counter.take("ann").unwrap_err().kind, "too-many");
        let other = counter.take("bob").unwrap();
        assert_eq!(counter.take("cid").unwrap_err().kind, "unavailable");
        assert_eq!(counter.taken(), 3);
        drop((places, other));
        assert_eq!(counter.taken(), 0);
        assert!(counter.each.lock().unwrap().is_empty() && counter.take("ann").is_ok());
    }

    #[test]
    fn depth_counts_outside_of_texts_only() {
        let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(!too_deep(&nested(64)) && too_deep(&nested(65)));
        assert!(!too_deep(format!("\"{}\\\"[[\"", "[".repeat(100)).as_bytes()));
        assert!(!too_deep("[]".repeat(1000).as_bytes()));
    }
}
