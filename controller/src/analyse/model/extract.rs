//! Finds the JSON object in an answer: alone, in a fence, between sentences, behind thoughts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::body::Depth;

/// Longer texts are not looked at.
const MAX_TEXT: usize = 256 * 1024;
/// Objects that are tried, so that a text of braces costs little.
const MAX_TRIED: usize = 32;

/// Why there is no object in a text. The words are made to be given back to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// Nothing that begins like an object.
    #[error("the answer contains no JSON object")]
    None,
    /// Something that begins like an object and is none.
    #[error("the answer is not valid JSON: {0}")]
    Invalid(String),
    /// More than one object on the top level.
    #[error("the answer contains more than one JSON object")]
    Several,
    /// Too long or too deep.
    #[error("the answer is larger than accepted")]
    TooLarge,
}

/// The one object of a text. Duplicate keys, `NaN` and trailing commas are errors: two readers could
/// take such a text for two different things.
///
/// # Errors
/// When there is no object, or more than one, or it is not strict JSON.
pub fn object(text: &str) -> Result<Map<String, Value>, ExtractError> {
    if text.len() > MAX_TEXT {
        return Err(ExtractError::TooLarge);
    }
    let text = after_thoughts(text.trim_start_matches('\u{feff}').trim());
    let mut found: Option<Map<String, Value>> = None;
    let mut wrong = ExtractError::None;
    let (mut from, mut tried) = (0, 0);
    while let Some(at) = text.get(from..).and_then(|rest| rest.find('{')).map(|at| at + from) {
        tried += 1;
        if tried > MAX_TRIED {
            break;
        }
        let end = closing(text, at);
        let candidate = end.and_then(|end| text.get(at..end)).unwrap_or_else(|| text.get(at..).unwrap_or(""));
        if !Depth::default().feed(candidate.as_bytes()) {
            return Err(ExtractError::TooLarge);
        }
        match parse(candidate) {
            // Two braces in a sentence say nothing.
            Ok(object) if object.is_empty() => {}
            Ok(object) if found.as_ref().is_none_or(|first| *first == object) => found = Some(object),
            Ok(_) => return Err(ExtractError::Several),
            // Cut off: what stands inside of it is no answer.
            Err(e) if end.is_none() && is_meant(candidate) => return Err(ExtractError::Invalid(e)),
            // A brace in a sentence is followed by no key; a quotation mark makes it meant as an object.
            Err(e) if wrong == ExtractError::None && is_meant(candidate) => {
                wrong = ExtractError::Invalid(e);
            }
            Err(_) => {}
        }
        from = end.unwrap_or(at + 1);
    }
    match (found, wrong) {
        (Some(object), ExtractError::None) => Ok(object),
        // One good and one broken object: it is not ours to choose.
        (_, wrong) => Err(wrong),
    }
}

fn is_meant(candidate: &str) -> bool {
    candidate.get(1..).is_some_and(|rest| rest.trim_start().starts_with(['"', '\'']))
}

/// Thoughts that some servers leave in the content.
fn after_thoughts(text: &str) -> &str {
    match (text.starts_with("<think>"), text.rfind("</think>")) {
        (true, Some(at)) => text.get(at + "</think>".len()..).unwrap_or(text),
        _ => text,
    }
}

/// The end of the object that begins at `at`.
fn closing(text: &str, at: usize) -> Option<usize> {
    let (mut level, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.bytes().enumerate().skip(at) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => level += 1,
            b'}' if !in_string => {
                level -= 1;
                if level == 0 {
                    return Some(offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err("not an object".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// A value whose objects have each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.contains_key(&key) {
                let shown: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(A::Error::custom(format!("the key {shown:?} comes twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
