use sysop_common::finding::{Severity, Value};

use super::super::prompt;
use super::super::schema::schema;
use super::super::testing::{NOW, Words, incident, plain, processes, sheet_of, units};
use super::*;

#[test]
fn a_sheet_tells_the_incident_in_rows_with_handles() {
    let sheet = plain();
    let text = &sheet.text;
    for line in [
        "INCIDENT severity critical opened -14m times 1",
        "N1 disk_fill of F1 critical confidence 96 since -34m active by U1 share 91% rows E1,E2,E3",
        "N2 unit_failed of U2 critical confidence 96 since -34m active because N1 rows E4",
        "E1 M1 F1 down 11m 40.0GiB -> 1.0MiB",
        "E4 M4 U2 state at -60s 'failed'",
        "O1 restart_service U1 risk medium for N1",
        "O3 kill_process P1 risk medium for N1",
        "U2 failed 'failed' result 'exit-code' restarts 0 mem 1.0GiB",
        "P1 cpu 97% mem 3.0GiB in U1",
        "disk_fill of F1 -30h, a repair ended it",
        "U1 \"shop-api.service\"",
        "P1 \"shop-api\" pid 4242 user \"shop\"",
        "M1 fs.available",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is missing in:\n{text}");
    }
    assert!(text.len() <= MOST_BYTES, "{}", text.len());
    assert!(!text.contains("98 % full"), "no sentence of anybody's is in it");
}

#[test]
fn what_is_too_much_goes_in_the_order_of_its_worth() {
    let long = Words {
        writer: format!("{}.service", "w".repeat(200)),
        comm: "c".repeat(64),
        user: "u".repeat(64),
        ..Words::default()
    };
    let sheet = sheet_of(&long, &mut Redactor::default());
    assert!(sheet.text.len() <= MOST_BYTES, "{}", sheet.text.len());
    assert_eq!(sheet.rows.len(), 4);
    let all: Vec<Caps> = std::iter::successors(Some(Caps::FULL), |caps| caps.less()).collect();
    assert_eq!(all[3], Caps { past: 0, ..Caps::FULL });
    assert_eq!(all[11], Caps { past: 0, processes: 0, ..Caps::FULL });
    assert_eq!(all[17], Caps { past: 0, processes: 0, units: 0, ..Caps::FULL });
    assert_eq!(all.last().unwrap().rows, 1);
    let half = Caps::FULL.halved();
    assert_eq!((half.rows, half.past), (6, 0));
}

#[test]
fn equal_situations_have_one_digest_and_others_another() {
    let of = |words: &Words, change: fn(&mut Incident)| {
        let (mut incident, processes, units) = (incident(words), processes(words), units(words));
        change(&mut incident);
        let material = Material {
            incident: &incident,
            host: &words.host,
            processes: &processes,
            units: &units,
            past: &[],
            now: NOW,
        };
        sheet(&material, Caps::FULL, &mut Redactor::default()).digest
    };
    let same = of(&Words::default(), |_| ());
    let other_host = Words { host: "web-08".into(), ..Words::default() };
    assert_eq!(of(&other_host, |_| ()), same, "another host of the same fleet");
    assert_eq!(
        of(&Words::default(), |i| i.findings[0].evidence[0].value = Value::Number(1_200_000)),
        same,
        "about as much"
    );
    assert_eq!(of(&Words::default(), |i| i.opened_at = NOW.plus(-9_000_000)), same, "later");
    for (what, changed) in [
        ("value", of(&Words::default(), |i| i.findings[0].evidence[0].value = Value::Number(1 << 30))),
        ("severity", of(&Words::default(), |i| i.severity = Severity::Warning)),
        ("offers", of(&Words::default(), |i| i.offers.truncate(2))),
        ("findings", of(&Words::default(), |i| i.findings.truncate(1))),
    ] {
        assert_ne!(changed, same, "{what}");
    }
}

#[test]
fn names_leave_as_aliases_where_that_is_wanted() {
    let mut redactor = Redactor::new(vec!["hunter2-own-key".into()], true);
    let words = Words {
        comm: "sk-abcdefgh12345678".into(),
        victim: "hunter2-own-key.service".into(),
        sub: "web-07".into(),
        ..Words::default()
    };
    let sheet = sheet_of(&words, &mut redactor);
    for canary in ["sk-abcdefgh", "hunter2", "web-07", "user \"shop\""] {
        assert!(!sheet.text.contains(canary), "{canary} in {}", sheet.text);
    }
    assert!(sheet.text.contains("user \"user-1\"") && sheet.text.contains("'host-1'"), "{}", sheet.text);
}

#[test]
fn the_schema_is_made_of_handles_alone_and_strict() {
    let sheet = plain();
    let schema = schema(&sheet);
    let text = schema.to_string();
    assert!(!text.contains("nginx") && !text.contains("shop"));
    let finding = &schema["properties"]["findings"]["items"];
    assert_eq!(finding["properties"]["evidence"]["items"]["properties"]["row"]["enum"][3], "E4");
    assert_eq!(finding["required"].as_array().unwrap().len(), 11);
    assert_eq!(finding["additionalProperties"], false);
    for banned in ["oneOf", "anyOf", "pattern", "minimum", "maxItems"] {
        assert!(!text.contains(banned), "{banned}");
    }
    assert!(
        prompt::prefix().contains("JSON") && prompt::prefix().len() < 6_000,
        "{}",
        prompt::prefix().len()
    );
}
