//! Limits on sign-in: per account, per source, and in all. Nobody is locked out for good: each limit
//! is a bucket that fills again.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use sysop_common::time::UnixMs;

/// A bucket's size and how long one try takes to come back, in ms.
#[derive(Debug, Clone, Copy)]
struct Rule {
    size: i64,
    refill_ms: i64,
}

const ACCOUNT: Rule = Rule { size: 10, refill_ms: 30_000 };
const SOURCE: Rule = Rule { size: 20, refill_ms: 15_000 };
const ALL: Rule = Rule { size: 100, refill_ms: 1_000 };
/// Records of failed tries.
const RECORDS: Rule = Rule { size: 30, refill_ms: 60_000 };
/// Keys that are remembered. The limit on all tries keeps the number far below; this is the backstop.
const MOST_KEYS: usize = 10_000;

/// Tries that count: taken before a password is looked at, given back when it was right.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    accounts: HashMap<String, Bucket>,
    sources: HashMap<IpAddr, Bucket>,
    all: Bucket,
    records: Bucket,
}

/// When the bucket was full, in the arithmetic of the generic cell rate: one number says all.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Time at which the bucket is full again, ms.
    full_at: i64,
}

impl Bucket {
    /// How long to wait for a try, in ms; zero when one is there.
    fn wait(self, rule: Rule, now: i64) -> i64 {
        let missing = (self.full_at - now).max(0);
        (missing + rule.refill_ms - rule.size * rule.refill_ms).max(0)
    }

    fn take(&mut self, rule: Rule, now: i64) {
        self.full_at = self.full_at.max(now) + rule.refill_ms;
    }

    fn give_back(&mut self, rule: Rule) {
        self.full_at -= rule.refill_ms;
    }
}

impl Throttle {
    /// Takes one try for `account` from `source`.
    ///
    /// # Errors
    /// The seconds until the next try counts, when there is none.
    pub fn take(&self, account: &str, source: IpAddr, now: UnixMs) -> Result<(), u32> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let books = &mut *books;
        let (source, now) = (network(source), now.0);
        let account_wait = books.accounts.get(account).map_or(0, |bucket| bucket.wait(ACCOUNT, now));
        let source_wait = books.sources.get(&source).map_or(0, |bucket| bucket.wait(SOURCE, now));
        let wait = account_wait.max(source_wait).max(books.all.wait(ALL, now));
        if wait > 0 {
            return Err(u32::try_from((wait + 999) / 1000).unwrap_or(u32::MAX));
        }
        make_room(&mut books.accounts, now);
        make_room(&mut books.sources, now);
        books.accounts.entry(account.to_owned()).or_default().take(ACCOUNT, now);
        books.sources.entry(source).or_default().take(SOURCE, now);
        books.all.take(ALL, now);
        Ok(())
    }

    /// Whether a failed try is still worth a record.
    pub fn is_worth_a_record(&self, now: UnixMs) -> bool {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = books.records.wait(RECORDS, now.0) == 0;
        if free {
            books.records.take(RECORDS, now.0);
        }
        free
    }

    /// Gives a try back that was right.
    pub fn give_back(&self, account: &str, source: IpAddr) {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = books.accounts.get_mut(account) {
            bucket.give_back(ACCOUNT);
        }
        if let Some(bucket) = books.sources.get_mut(&network(source)) {
            bucket.give_back(SOURCE);
        }
        books.all.give_back(ALL);
    }
}

fn make_room<K: Eq + Hash>(buckets: &mut HashMap<K, Bucket>, now: i64) {
    if buckets.len() >= MOST_KEYS {
        buckets.retain(|_, bucket| bucket.full_at > now);
    }
    if buckets.len() >= MOST_KEYS {
        buckets.clear();
    }
}

/// One customer's network: an address of version 4, the first 64 bits of version 6.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_runs_dry_and_fills_again_and_nobody_else_suffers() {
        let throttle = Throttle::default();
        let start = UnixMs(1_000_000);
        for _ in 0..10 {
            throttle.take("ann", ip("192.0.2.1"), start).unwrap();
        }
        assert_eq!(throttle.take("ann", ip("192.0.2.2"), start), Err(30));
        assert_eq!(throttle.take("bob", ip("192.0.2.1"), start), Ok(()));
        assert_eq!(throttle.take("ann", ip("192.0.2.2"), start.plus(29_999)), Err(1));
        assert_eq!(throttle.take("ann", ip("192.0.2.2"), start.plus(30_000)), Ok(()));
        assert!(throttle.take("ann", ip("192.0.2.2"), start.plus(30_000)).is_err());
    }

    #[test]
    fn a_source_is_a_whole_network_of_version_six_and_right_tries_cost_nothing() {
        let throttle = Throttle::default();
        let now = UnixMs(1_000_000);
        for n in 0..20 {
            throttle.take(&format!("user{n}"), ip(&format!("2001:db8::{n}")), now).unwrap();
        }
        assert!(throttle.take("ann", ip("2001:db8::ffff"), now).is_err());
        assert_eq!(throttle.take("ann", ip("2001:db8:0:1::1"), now), Ok(()));
        for _ in 0..1000 {
            throttle.take("ann", ip("192.0.2.9"), now).unwrap();
            throttle.give_back("ann", ip("192.0.2.9"));
        }
    }

    #[test]
    fn all_together_are_limited_and_memory_with_them() {
        let throttle = Throttle::default();
        let now = UnixMs(1_000_000);
        let tries = (0..500u32).filter(|n| {
            let from = IpAddr::from(n.to_be_bytes());
            throttle.take(&format!("user{n}"), from, now).is_ok()
        });
        assert_eq!(tries.count(), 100);
        assert_eq!(throttle.0.lock().unwrap().accounts.len(), 100);
    }
}
