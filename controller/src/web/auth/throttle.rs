//! Limits on sign-in: per account, per source, and in all. Nobody is locked out for good: each limit
//! is a bucket that fills again.

use std::collections::{HashMap, HashSet};
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

/// One account from one network.
const ACCOUNT_FROM: Rule = Rule { size: 10, refill_ms: 30_000 };
/// One account from everywhere: more than one network's share, so that no single one dries it up.
const ACCOUNT: Rule = Rule { size: 60, refill_ms: 5_000 };
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
    pairs: HashMap<(String, IpAddr), Bucket>,
    /// Networks from which an account signed in: what others try does not hold it up there.
    known: HashSet<(String, IpAddr)>,
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
    fn wait(&mut self, rule: Rule, now: i64) -> i64 {
        // Never more than a whole bucket: the clock may have been ahead when the tries were taken.
        self.full_at = self.full_at.min(now + rule.size * rule.refill_ms);
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
    /// Takes one try for `account` from `source`. Limits that many share do not hold up a network from
    /// which the account signed in before.
    ///
    /// # Errors
    /// The seconds until the next try counts, when there is none.
    pub fn take(&self, account: &str, source: IpAddr, now: UnixMs) -> Result<(), u32> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let books = &mut *books;
        let (source, now) = (network(source), now.0);
        let pair = (account.to_owned(), source);
        let pair_wait = books.pairs.get_mut(&pair).map_or(0, |bucket| bucket.wait(ACCOUNT_FROM, now));
        let source_wait = books.sources.get_mut(&source).map_or(0, |bucket| bucket.wait(SOURCE, now));
        let mut wait = pair_wait.max(source_wait);
        if !books.known.contains(&pair) {
            let account_wait = books.accounts.get_mut(account).map_or(0, |bucket| bucket.wait(ACCOUNT, now));
            wait = wait.max(account_wait).max(books.all.wait(ALL, now));
        }
        if wait > 0 {
            return Err(u32::try_from((wait + 999) / 1000).unwrap_or(u32::MAX));
        }
        make_room(&mut books.accounts, now);
        make_room(&mut books.sources, now);
        make_room(&mut books.pairs, now);
        books.pairs.entry(pair).or_default().take(ACCOUNT_FROM, now);
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

    /// Gives a try back that was right, and remembers where it came from.
    pub fn give_back(&self, account: &str, source: IpAddr) {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (account.to_owned(), network(source));
        if let Some(bucket) = books.pairs.get_mut(&pair) {
            bucket.give_back(ACCOUNT_FROM);
        }
        if books.known.len() >= MOST_KEYS {
            books.known.clear();
        }
        books.known.insert(pair);
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
        assert_eq!(throttle.take("ann", ip("192.0.2.1"), start), Err(30));
        assert_eq!(throttle.take("bob", ip("192.0.2.1"), start), Ok(()));
        assert_eq!(throttle.take("ann", ip("192.0.2.1"), start.plus(29_999)), Err(1));
        assert_eq!(throttle.take("ann", ip("192.0.2.1"), start.plus(30_000)), Ok(()));
        assert!(throttle.take("ann", ip("192.0.2.1"), start.plus(30_000)).is_err());
    }

    #[test]
    fn whoever_signed_in_before_is_not_held_up_by_what_others_try() {
        let throttle = Throttle::default();
        let now = UnixMs(1_000_000);
        throttle.take("ann", ip("203.0.113.5"), now).unwrap();
        throttle.give_back("ann", ip("203.0.113.5"));
        for n in 0..200u32 {
            let _ = throttle.take("ann", IpAddr::from((n << 8).to_be_bytes()), now);
        }
        assert!(throttle.take("ann", ip("198.51.100.1"), now).is_err());
        assert_eq!(throttle.take("ann", ip("203.0.113.5"), now), Ok(()));
    }

    #[test]
    fn a_clock_that_was_ahead_holds_nobody_up_once_it_is_right() {
        let throttle = Throttle::default();
        let ahead = UnixMs(4_000_000_000_000);
        for _ in 0..10 {
            throttle.take("ann", ip("192.0.2.1"), ahead).unwrap();
        }
        let now = UnixMs(1_700_000_000_000);
        let wait = throttle.take("ann", ip("192.0.2.1"), now).unwrap_err();
        assert!(i64::from(wait) <= 300, "{wait}");
        assert_eq!(throttle.take("ann", ip("192.0.2.1"), now.plus(300_000)), Ok(()));
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
