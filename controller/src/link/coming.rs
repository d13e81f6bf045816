//! Connections that are coming in: places for them in all, per source and per host, so that nobody can
//! take them all. QUIC and TCP have places of their own: who sits on one leaves the other free.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Part of all places that one source may take.
const SHARE: usize = 4;

/// Counts per key.
#[derive(Debug)]
pub(super) struct Counter<K>(Mutex<HashMap<K, usize>>);

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// One count of a [`Counter`]; given back when dropped.
#[derive(Debug)]
pub(super) struct Counted<K: Eq + Hash> {
    counter: Arc<Counter<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Counter<K> {
    /// One more of `key`, unless there are `most` already.
    pub(super) fn take(self: &Arc<Self>, key: K, most: usize) -> Option<Counted<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        Some(Counted { counter: self.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut counts = self.counter.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 one.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// The places of one transport.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    sources: Arc<Counter<IpAddr>>,
    refused: AtomicU64,
}

/// One place; given back when dropped, at the latest when the session is live.
#[derive(Debug)]
pub(super) struct Place {
    _free: OwnedSemaphorePermit,
    _source: Counted<IpAddr>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        let (sources, refused) = (Arc::default(), AtomicU64::new(0));
        Self { free: Arc::new(Semaphore::new(most)), most, sources, refused }
    }

    /// A place for a connection from `address`, if there is one.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let source = self.sources.take(source(address), (self.most / SHARE).max(1));
        let taken = source.and_then(|source| {
            let free = self.free.clone().try_acquire_owned().ok()?;
            Some(Place { _free: free, _source: source })
        });
        if taken.is_none() && self.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
            tracing::warn!("connections come in faster than they can be served; some are turned away");
        }
        taken
    }

    /// Connections that are coming in.
    pub(super) fn taken(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_takes_its_share_and_leaves_the_rest() {
        let places = Places::new(8);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut held: Vec<Place> = (0..2).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none());
        for n in 2..5 {
            held.extend((0..2).map(|_| places.take(IpAddr::from([192, 0, 2, n])).unwrap()));
        }
        assert_eq!(places.taken(), 8);
        assert!(places.take("192.0.2.9".parse().unwrap()).is_none());
        held.remove(0);
        assert!(places.take(one).is_some());
        drop(held);
        assert_eq!(places.taken(), 0);
        assert!(places.sources.0.lock().unwrap().is_empty());
    }
}
