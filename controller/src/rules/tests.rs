use std::collections::BTreeMap;

use proptest::prelude::*;
use sysop_common::finding::Severity;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::standing::{GRACE_MS, Reason, Truth, advance};
use super::state::{Instance, Phase, RuleState, States};
use super::*;
use crate::store::rules::{Check, Definition, Rule};

fn rule(for_s: i64, keep_s: i64) -> Rule {
    Rule {
        id: 7,
        builtin: String::new(),
        definition: written(Check::Port { port: 443 }, for_s * 1_000, keep_s * 1_000),
        version: 1,
        carriers: Vec::new(),
        created_by: "ann".into(),
        created_at: UnixMs(0),
        updated_by: "ann".into(),
        updated_at: UnixMs(0),
    }
}

fn written(check: Check, for_ms: i64, keep_ms: i64) -> Definition {
    Definition {
        name: "a rule".into(),
        check,
        for_ms,
        keep_ms,
        severity: Severity::Warning,
        scope: None,
        labels: BTreeMap::new(),
        enabled: true,
    }
}

/// One letter per ten seconds: `y`es, `n`o, `?` unknown; `c` no and over, `h` no and not over yet. Gives a
/// letter for what follows: `.` quiet, `p`ending, `F`iring.
fn steps(rule: &Rule, truths: &str) -> String {
    let mut instance: Option<Instance> = None;
    let step = |(n, letter): (usize, char)| {
        let truth = match letter {
            'y' => Truth::Yes,
            '?' => Truth::Unknown(Reason::NoPorts),
            _ => Truth::No,
        };
        let over = || match letter {
            'h' => Some(Truth::No),
            'c' => Some(Truth::Yes),
            _ => None,
        };
        instance = advance(rule, UnixMs(n as i64 * 10_000), &truth, over, instance, true);
        match instance.map(|instance| instance.phase) {
            None => '.',
            Some(Phase::Pending { .. }) => 'p',
            Some(Phase::Firing { .. }) => 'F',
        }
    };
    truths.chars().enumerate().map(step).collect()
}

#[test]
fn a_rule_waits_for_its_time_holds_on_and_ends() {
    assert_eq!(steps(&rule(0, 0), "nyyn"), ".FF.");
    assert_eq!(steps(&rule(30, 0), "nyyyyyn"), ".pppFF.");
    assert_eq!(steps(&rule(30, 0), "yyynyyyy"), "ppp.pppF");
    // It goes on for its time after its condition last held.
    assert_eq!(steps(&rule(0, 30), "yynnnnn"), "FFFFF..".replace("FFFFF", "FFFF."));
    // Between the two limits it goes on.
    assert_eq!(steps(&rule(0, 0), "yhhhc"), "FFFF.");
    assert_eq!(steps(&rule(30, 0), "yhyyyy"), "p.pppF");
}

#[test]
fn unknown_neither_begins_nor_ends_and_is_not_waited_for_for_ever() {
    assert_eq!(steps(&rule(0, 0), "??y??"), "..FFF");
    assert_eq!(steps(&rule(30, 0), "y?y?y"), "ppppF");
    let long = usize::try_from(GRACE_MS / 10_000).unwrap() + 1;
    let truths = format!("y{}y", "?".repeat(long));
    let told = steps(&rule(30, 0), &truths);
    assert!(told.ends_with(".p"), "{told}");
}

#[test]
fn state_survives_its_packed_form_and_damage_is_forgotten() {
    let instance = Instance {
        phase: Phase::Firing { onset: UnixMs(1), since: UnixMs(2), last_true: UnixMs(3) },
        known: UnixMs(3),
    };
    let of = RuleState { version: 3, at: UnixMs(9), instances: BTreeMap::from([("/".to_owned(), instance)]) };
    let states = States { rules: BTreeMap::from([(7, of)]) };
    let packed = states.pack();
    assert_eq!(States::unpack(&packed), states);
    assert!(!states.pending() && states.shape() == [(7, "/", true)]);
    assert_eq!(States::unpack(&[]), States::default());
    assert_eq!(States::unpack(&[9, 1, 2]), States::default());
    assert_eq!(States::unpack(&packed[..packed.len() - 1]), States::default());
}

proptest! {
    #[test]
    fn no_bytes_of_a_state_are_more_than_forgotten(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = States::unpack(&bytes);
        let _ = States::unpack(&[&[1], bytes.as_slice()].concat());
    }
}

#[track_caller]
fn refused(written: &Definition, field: &str, says: &str) {
    let wrong = check(written).unwrap_err();
    assert!(wrong.field == field && wrong.must.contains(says), "{wrong}");
}

#[test]
fn what_does_not_fit_is_named_with_what_it_must_be() {
    let good = written(Check::Port { port: 443 }, MINUTE_MS, 0);
    assert_eq!(check(&good), Ok(()));
    refused(&Definition { name: " x".into(), ..good.clone() }, "name", "1 to 100 characters");
    refused(&Definition { for_ms: 1_500, ..good.clone() }, "for_ms", "whole seconds");
    refused(&Definition { keep_ms: -1_000, ..good.clone() }, "keep_ms", "0 to a day");
    let labels = BTreeMap::from([("a b".to_owned(), String::new())]);
    refused(&Definition { labels, ..good.clone() }, "labels", "letters, digits");
    refused(&Definition { check: Check::Port { port: 0 }, ..good.clone() }, "port", "1 to 65535");
    let process = Check::Process { name: "**".into(), least: 1 };
    refused(&Definition { check: process, ..good.clone() }, "process", "must name a process");
    let unit = Check::Unit { unit: "../x".into() };
    assert_eq!(check(&Definition { check: unit, ..good.clone() }).unwrap_err().field, "unit");
    let expression =
        |when: &str, clear: &str| Check::Expression { when: when.to_owned(), clear: clear.to_owned() };
    let of = |when, clear| Definition { check: expression(when, clear), ..good.clone() };
    refused(&of("load.1 >", ""), "when", "column 9");
    refused(&of("load.1 > 1", "load.1"), "clear", "column 1");
    refused(&of("load.1 > 1", "fs.free > 1"), "clear", "the same label open");
    assert_eq!(check(&of("fs.used_ratio > 95 %", "fs.used_ratio < 90 %")), Ok(()));
}

#[tokio::test]
async fn rules_that_come_with_the_product_can_be_read_and_are_known_to_the_catalogues() {
    let dir = tempfile::tempdir().unwrap();
    let db = crate::store::Db::open_control(dir.path()).await.unwrap();
    for rule in crate::store::rules::list(&mut db.reader().await.unwrap()).await.unwrap() {
        assert_eq!(check(&rule.definition), Ok(()), "{}", rule.definition.name);
    }
}
