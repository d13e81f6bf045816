//! What a person just did, told once on the next page: kept here, by session, so that it needs neither a
//! script nor a cookie that somebody else could write.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sysop_common::time::{MINUTE_MS, UnixMs};

use super::auth::{Principal, Way};
use super::widgets::State;
use super::widgets::note::Toast;

/// A message that nobody fetched is forgotten after this time.
const KEPT_MS: i64 = MINUTE_MS;
/// Sessions with messages, at most; beyond it new ones are not told.
const SESSIONS: usize = 1_000;
/// Messages for one session, at most.
const EACH: usize = 4;

/// Messages by session.
#[derive(Debug, Default)]
pub struct Flash(Mutex<HashMap<[u8; 32], (UnixMs, Vec<Toast>)>>);

impl Flash {
    fn waiting(&self) -> MutexGuard<'_, HashMap<[u8; 32], (UnixMs, Vec<Toast>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a message for the person's next page; a program gets none.
    pub fn say(&self, principal: &Principal, now: UnixMs, state: State, title: impl Into<String>) {
        let Way::Session { hash, .. } = principal.way else { return };
        let mut waiting = self.waiting();
        waiting.retain(|_, (at, _)| now.since(*at) < KEPT_MS);
        if waiting.len() >= SESSIONS && !waiting.contains_key(&hash) {
            return;
        }
        let (at, messages) = waiting.entry(hash).or_insert_with(|| (now, Vec::new()));
        *at = now;
        if messages.len() < EACH {
            messages.push(Toast { state, title: title.into(), detail: String::new() });
        }
    }

    /// The messages for the page that is drawn now.
    #[must_use]
    pub fn take(&self, principal: &Principal, now: UnixMs) -> Vec<Toast> {
        let Way::Session { hash, .. } = principal.way else { return Vec::new() };
        match self.waiting().remove(&hash) {
            Some((at, messages)) if now.since(at) < KEPT_MS => messages,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::users::Role;

    fn person(session: u8) -> Principal {
        let way = Way::Session {
            hash: [session; 32],
            csrf: String::new(),
            must_change: false,
            last_seen: UnixMs(0),
        };
        let name = "ann".to_owned();
        Principal { id: "1".into(), behind: name.clone(), name, role: Role::Admin, way }
    }

    #[test]
    fn a_message_is_told_once_to_its_own_session_and_not_late() {
        let flash = Flash::default();
        flash.say(&person(1), UnixMs(0), State::Ok, "sent");
        assert!(flash.take(&person(2), UnixMs(1)).is_empty());
        assert_eq!(flash.take(&person(1), UnixMs(1))[0].title, "sent");
        assert!(flash.take(&person(1), UnixMs(1)).is_empty());
        flash.say(&person(1), UnixMs(0), State::Ok, "sent");
        assert!(flash.take(&person(1), UnixMs(KEPT_MS)).is_empty());
        for n in 0..2 * EACH {
            flash.say(&person(1), UnixMs(0), State::Ok, n.to_string());
        }
        assert_eq!(flash.take(&person(1), UnixMs(0)).len(), EACH);
    }
}
