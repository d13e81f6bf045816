use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;

fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn every_language_has_the_same_keys_with_the_same_placeholders() {
    let shape = |language: Language| -> BTreeMap<&str, BTreeSet<&str>> {
        CATALOGUES[language as usize].iter().map(|(key, text)| (*key, placeholders(text))).collect()
    };
    let english = shape(Language::English);
    for language in Language::ALL {
        let other = shape(language);
        let differ: Vec<_> = english.iter().filter(|(key, names)| other.get(*key) != Some(names)).collect();
        assert!(differ.is_empty(), "{}: {differ:?}", language.tag());
        assert_eq!(other.len(), english.len(), "{}", language.tag());
    }
    for (source, language) in SOURCES.iter().zip(Language::ALL) {
        let lines: Vec<&str> =
            source.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(lines.len(), CATALOGUES[language as usize].len(), "a key twice, or a line without a key");
    }
}

/// Source files of the analyser, tests left out.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_key_that_the_analyser_says_has_a_text_and_gets_all_its_placeholders() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analyse"), &mut files);
    let mut said = BTreeSet::new();
    for source in &files {
        for call in source.split(".say(").skip(1) {
            let Some(rest) = call.trim_start().strip_prefix('"') else { continue };
            let (key, rest) = rest.split_once('"').unwrap();
            let text = Language::English.text().get(key);
            let text = text.unwrap_or_else(|| panic!("no text for {key}"));
            said.insert(key.to_owned());
            // Given in place, or as a list that was bound to a name before.
            let list = rest.trim_start_matches([',', ' ', '\n', '&']);
            if !list.starts_with('[') {
                continue;
            }
            let end = rest.find(");").or_else(|| rest.find("])")).unwrap_or(rest.len());
            let list = &rest[..end.max(rest.find("])").unwrap_or(0))];
            for name in placeholders(text) {
                assert!(list.contains(&format!("(\"{name}\",")), "{key} wants {name}: {list}");
            }
        }
    }
    assert!(said.len() > 20);
}

#[test]
fn values_are_put_in_as_they_are_and_other_languages_are_english() {
    let text = Language::English.text();
    let odd = "{unit}{";
    assert_eq!(text.say("unit.failed.title", &[("unit", &odd)]), "{unit}{ failed");
    assert_eq!(Language::from_tag("vi-VN"), Language::Vietnamese);
    assert_eq!(Language::from_tag("Vietnamese"), Language::Vietnamese);
    for other in ["en", "EN_us", "de", "", "zh-Hant"] {
        assert_eq!(Language::from_tag(other), Language::English);
    }
    assert_eq!(Language::Vietnamese.text().span(180_000), "3 phút");
    assert_eq!(text.span(59_999), "59 s");
}
