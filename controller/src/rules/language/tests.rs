use proptest::prelude::*;
use sysop_common::time::UnixMs;

use super::tree::UNITS;
use super::*;
use crate::store::samples::rates;

fn series() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("load.1".to_owned()),
        Just("cpu.usage".to_owned()),
        Just("fs.used_ratio".to_owned()),
        "[a-z/\\\\\"* ]{1,8}".prop_map(|mount| {
            let mount = mount.replace('\\', "\\\\").replace('"', "\\\"");
            format!("fs.free{{mount=\"{mount}\"}}")
        }),
        Just("fs.total{mount!=\"/boot*\"}".to_owned()),
        Just("avg(memory.available, 5 min)".to_owned()),
        Just("rate(procs.forked, 30 s)".to_owned()),
        Just("delta(swap.free, 15 min)".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = String> {
    let literal = (0u32..1_000_000, 0usize..=UNITS.len()).prop_map(|(n, unit)| {
        let unit = UNITS.get(unit).map_or("", |(unit, _)| *unit);
        format!("{}.{:03} {unit}", n / 1_000, n % 1_000)
    });
    let leaf = prop_oneof![literal, series()];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), prop::sample::select(vec!["+", "-", "*", "/"]))
                .prop_map(|(a, b, sign)| format!("({a} {sign} {b})")),
            inner.prop_map(|a| format!("-{a}")),
        ]
    })
}

fn truth() -> impl Strategy<Value = String> {
    let compare = (number(), number(), prop::sample::select(Compare::ALL.to_vec()))
        .prop_map(|(a, b, compare)| format!("{a} {} {b}", compare.sign()));
    let leaf = prop_oneof![compare, Just("absent(disk.busy{device=\"sda\"})".to_owned())];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or {b}")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_is_more_than_a_fault(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_order_of_words_is_more_than_a_fault(words in prop::collection::vec(prop::sample::select(vec![
        "load.1", "fs.free", "{", "}", "mount", "=", "\"/\"", "(", ")", "and", "or", "not", "-", "+", "/", "<", ">=",
        "5", "%", "min", "avg", "absent", ",", "MiB/s", "\"", "==", "0.5", "é",
    ]), 0..40)) {
        match parse(&words.join(" ")) {
            Ok(expression) => prop_assert!(expression.leaves().len() <= MAX_LEAVES),
            Err(fault) => prop_assert!(fault.column >= 1 && !fault.remedy.is_empty()),
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same(text in truth()) {
        // Those with too many series or too long are refused, and no matter here.
        if let Ok(read) = parse(&text) {
            let again = parse(&read.to_string());
            prop_assert_eq!(again.as_ref(), Ok(&read), "{} became {}", text, read);
        }
    }
}

#[track_caller]
fn refused(text: &str, column: usize, says: &str) {
    let fault = parse(text).unwrap_err();
    assert!(fault.column == column && fault.to_string().contains(says), "{text}: {fault}");
}

#[test]
fn a_fault_names_its_column_and_what_to_write() {
    refused("", 1, "something is missing");
    refused("load.1", 1, "compare it with a number");
    refused("load.1 > ", 10, "something is missing");
    refused("load.9 > 1", 1, "such as load.1");
    refused("é > 1", 1, "this sign is not known");
    refused("load.1 = 1", 8, "write == to compare");
    refused("load.1 > 1 > 2", 12, "should end here");
    refused("load.1 and load.5 > 1", 1, "this is a number");
    refused("(load.1 > 1) + 2 > 1", 1, "a condition, not a number");
    refused("fs.free{device=\"/\"} > 1", 9, "told apart by mount");
    refused("load.1{core=\"0\"} > 1", 7, "has no labels");
    refused("fs.free{mount=\"/} > 1", 15, "not closed");
    refused("avg(load.1, 5) > 1", 13, "a time of 10 s to 15 min");
    refused("avg(load.1, 20 min) > 1", 13, "a time of 10 s to 15 min");
    refused("rate(load.1, 1 min) > 1", 6, "not a counter");
    refused("fs.used_ratio > 1 and disk.busy > 1", 1, "told apart by");
    refused("1..2 > 1", 1, "not a number");
    refused(&format!("{}load.1 > 1", "(".repeat(40)), 26, "nested more than 24 deep");
    refused(&"load.1 > 1 or ".repeat(100), 1, "at most 1000");
    refused(&format!("{} > 1", vec!["1"; 200].join("+")), 132, "too long");
}

#[test]
fn units_are_those_in_which_series_are_read() {
    for (text, value) in [
        ("95 %", 0.95),
        ("64 MiB", 67_108_864.0),
        ("5s", 5_000.0),
        ("1.5 GiB/s", 1_610_612_736.0),
        ("2", 2.0),
    ] {
        let read = parse(&format!("load.1 > {text}")).unwrap();
        let Kind::Compare(_, _, right) = &read.root().kind else { panic!() };
        let Kind::Number(literal) = right.kind else { panic!() };
        assert!((literal.value() - value).abs() < 1e-9, "{text}");
    }
    // Every name of the API can be read, and is known by one label at most.
    let names = sysop_common::metric::ALL.iter().map(|m| m.name).chain(rates::DERIVED.iter().map(|d| d.name));
    for name in names {
        let read = parse(&format!("{name} > 0")).unwrap();
        assert_eq!(
            read.free().is_some(),
            read.leaves()[0].label != sysop_common::metric::Label::None,
            "{name}"
        );
    }
}

/// What an expression comes to over values of `load.1` and `load.5`, a sample each ten seconds.
fn at(text: &str, one: &[Option<f64>], five: &[Option<f64>]) -> Outcome {
    let expression = parse(text).unwrap();
    let times: Vec<UnixMs> = (0..one.len()).map(|n| UnixMs(n as i64 * 10_000)).collect();
    let values: Vec<_> = expression
        .leaves()
        .iter()
        .map(|leaf| if leaf.reading.name == "load.5" { five.to_vec() } else { one.to_vec() })
        .collect();
    expression.at(Table { at: &times, values: &values }, one.len() - 1)
}

#[test]
fn unknown_is_neither_false_nor_true_and_is_decided_only_by_what_decides() {
    let (yes, no, unknown) = ("load.1 > 0", "load.1 < 0", "load.5 > 0");
    let word = |text: String| match at(&text, &[Some(1.0)], &[None]) {
        Outcome::Truth(true) => "yes",
        Outcome::Truth(false) => "no",
        Outcome::Unknown(_) => "unknown",
        Outcome::Number(_) => "number",
    };
    for (a, b, and, or) in [
        (yes, yes, "yes", "yes"),
        (yes, no, "no", "yes"),
        (no, no, "no", "no"),
        (yes, unknown, "unknown", "yes"),
        (unknown, no, "no", "unknown"),
        (unknown, unknown, "unknown", "unknown"),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            assert_eq!(word(format!("{a} and {b}")), and, "{a} and {b}");
            assert_eq!(word(format!("{a} or {b}")), or, "{a} or {b}");
        }
    }
    assert_eq!(word(format!("not ({unknown})")), "unknown");
    assert_eq!(word(format!("not ({no})")), "yes");
    assert_eq!(word("absent(load.5)".into()), "yes");
    assert_eq!(word("absent(load.1)".into()), "no");
    assert_eq!(word("load.5 + 1 > 0".into()), "unknown");
    assert_eq!(at("load.1 / 0 > 1", &[Some(1.0)], &[]), Outcome::Unknown(Why::NoNumber));
    assert_eq!(at("load.1 / 0 > 1 or load.1 == 1", &[Some(1.0)], &[]), Outcome::Truth(true));
}

#[test]
fn functions_look_back_over_their_window_and_want_half_of_it() {
    let values: Vec<Option<f64>> = (0..13).map(|n| Some(f64::from(n))).collect();
    for (text, truth) in [
        ("max(load.1, 1 min) == 12", true),
        ("min(load.1, 1 min) == 7", true),
        ("avg(load.1, 1 min) == 9.5", true),
        ("delta(load.1, 1 min) == 5", true),
        ("min(load.1, 2 min) == 1", true),
    ] {
        assert_eq!(at(text, &values, &[]), Outcome::Truth(truth), "{text}");
    }
    assert_eq!(at("avg(load.1, 5 min) > 0", &values, &[]), Outcome::Unknown(Why::Uncovered(0)));
    let mut holed = values.clone();
    holed[7..12].fill(None);
    assert_eq!(at("max(load.1, 2 min) == 12", &holed, &[]), Outcome::Truth(true));
    holed[12] = None;
    assert_eq!(at("max(load.1, 2 min) == 12", &holed, &[]), Outcome::Unknown(Why::NotObserved(0)));
    // A counter is read as a rate: 2 a second for a minute make 120.
    let rates = vec![Some(2.0); 13];
    assert_eq!(at("delta(procs.forked, 1 min) == 120", &rates, &[]), Outcome::Truth(true));
    assert_eq!(at("rate(procs.forked, 1 min) == 2", &rates, &[]), Outcome::Truth(true));
}
