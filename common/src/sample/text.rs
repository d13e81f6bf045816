//! Short texts of ticks, shared between the ticks that hold the same.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Tick;

/// Texts that [`Texts`] knows at most; what is new beyond that is not shared.
const MOST: usize = 16_384;
/// When it is full, one tick in so many looks for texts that nobody holds any more.
const LOOK_EVERY: u32 = 1_024;

/// A text that is made once and then shared: from tick to tick nearly all texts of a host stay, and a copy
/// of this one is a count, not a copy. Empty texts take no memory of their own.
#[derive(Clone, Default)]
pub struct Text(Option<Arc<str>>);

impl Text {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("")
    }

    /// Whether both are the same memory.
    fn is_shared_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        *self == other.as_str()
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As `str` hashes, so that a map of texts can be asked with one.
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// Texts that hosts have in common: the hosts of a fleet run the same units as the same users. Bounded, and
/// those that nobody else holds any more make room.
#[derive(Debug, Default)]
pub struct Texts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    texts: HashSet<Text>,
    /// Ticks that came while there was no room.
    crowded: u32,
}

impl Texts {
    /// Makes `tick` hold the shared copies of its texts.
    pub(super) fn share(&self, tick: &mut Tick) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { texts: known, crowded } = &mut *known;
        if known.len() >= MOST {
            *crowded = crowded.wrapping_add(1);
        }
        if known.len() >= MOST && *crowded % LOOK_EVERY == 1 {
            known.retain(|text| text.0.as_ref().is_some_and(|text| Arc::strong_count(text) > 1));
        }
        let mut one = |text: &mut Text| match known.get(text.as_str()) {
            Some(shared) => *text = shared.clone(),
            None if text.is_empty() || known.len() >= MOST => {}
            None => {
                known.insert(text.clone());
            }
        };
        for p in &mut tick.processes {
            [&mut p.comm, &mut p.user, &mut p.unit, &mut p.args].into_iter().for_each(&mut one);
        }
        for u in &mut tick.units {
            [&mut u.name, &mut u.sub, &mut u.result].into_iter().for_each(&mut one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unit;
    use super::*;
    use crate::ids::Seq;
    use crate::time::UnixMs;

    #[test]
    fn a_text_compares_and_hashes_as_what_it_says() {
        let (a, b) = (Text::from("nginx"), Text::from("nginx".to_owned()));
        assert_eq!(a, b);
        assert_eq!(a, "nginx");
        assert_eq!("nginx", a);
        assert!(!a.is_shared_with(&b) && a.is_shared_with(&a.clone()));
        assert!(*a < *"sshd");
        assert_eq!(Text::from(""), Text::default());
        let known = std::collections::HashSet::from([a]);
        assert!(known.contains("nginx") && !known.contains(""));
    }

    #[test]
    fn ticks_of_two_hosts_share_their_texts_and_what_nobody_holds_makes_room() {
        let tick = |name: String| {
            let unit = Unit { name: name.into(), sub: "running".into(), ..Unit::default() };
            Tick { seq: Seq(1), at: UnixMs(0), values: vec![], processes: vec![], units: vec![unit] }
        };
        let texts = Texts::default();
        let (mut a, mut b) = (tick("a.service".into()), tick("a.service".into()));
        texts.share(&mut a);
        texts.share(&mut b);
        assert!(a.units[0].name.is_shared_with(&b.units[0].name));
        assert!(a.units[0].sub.is_shared_with(&b.units[0].sub));
        (0..2 * MOST).for_each(|n| texts.share(&mut tick(format!("{n}.service"))));
        assert!(texts.0.lock().unwrap().texts.len() <= MOST);
        let mut c = tick("a.service".into());
        texts.share(&mut c);
        assert!(a.units[0].name.is_shared_with(&c.units[0].name), "what is held stays");
    }
}
