use serde_json::{Value, json};

use super::*;
use crate::analyse::model::testing::{plain, sound};

fn judged(change: impl FnOnce(&mut Value)) -> Judged {
    let sheet = plain();
    let mut answer = sound(&sheet);
    change(&mut answer);
    judge(&answer.to_string(), &sheet, "en", &Redactor::default())
}

fn codes(judged: &Judged) -> Vec<&str> {
    judged.rejects.iter().map(|reject| reject.code.as_str()).collect()
}

#[test]
fn a_sound_answer_counts_whole_and_is_spelled() {
    let judged = judged(|_| ());
    assert_eq!(judged.rejects, []);
    let view = &judged.opinion.unwrap().views[0];
    assert_eq!(view.root.as_deref(), Some("shop-api.service"));
    assert_eq!(view.title, "shop-api.service fills /var");
    assert!(view.agrees && view.confidence == 88 && view.picks.len() == 1);
    assert_eq!(view.picks[0].action.name(), "restart_service");
    assert_eq!(view.evidence[0], "E1 fs.available /var down 11m 40.0GiB -> 1.0MiB");
}

#[test]
fn what_is_not_in_the_request_costs_the_answer() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 12] = [
        ("row", |a| a["findings"][0]["evidence"][0]["row"] = json!("E99")),
        ("against", |a| a["findings"][0]["against"] = json!(["E0"])),
        ("affected", |a| a["findings"][0]["affected"] = json!(["U77"])),
        ("metric as a thing", |a| a["findings"][0]["affected"] = json!(["M1"])),
        ("root", |a| a["findings"][0]["root"] = json!("nginx.service")),
        ("root not cited", |a| a["findings"][0]["root"] = json!("U2")),
        ("offer", |a| a["findings"][0]["actions"][0]["offer"] = json!("O9")),
        ("no rows", |a| a["findings"][0]["evidence"] = json!([])),
        ("confidence", |a| a["findings"][0]["confidence"] = json!(101)),
        ("schema", |a| a["schema"] = json!("2")),
        ("many", |a| a["findings"] = Value::Array(vec![a["findings"][0].clone(); 300])),
        ("none", |a| a["findings"] = json!([])),
    ];
    for (what, change) in cases {
        let judged = judged(change);
        assert!(judged.opinion.is_none() && judged.worst() == Some(Weight::Answer), "{what}: {judged:?}");
    }
}

#[test]
fn a_wrong_form_is_named_exactly() {
    let sheet = plain();
    let answer = sound(&sheet).to_string();
    let of = |text: &str| judge(text, &sheet, "en", &Redactor::default());
    for wrapped in [
        format!("```json\n{answer}\n```"),
        format!("Here it is {{}}:\n{answer}\nDone."),
        format!("\u{feff}{answer}"),
    ] {
        assert_eq!(of(&wrapped).rejects, [], "{wrapped}");
    }
    for (text, says) in [
        ("", "no JSON object"),
        ("I cannot help", "no JSON object"),
        (&answer[..answer.len() / 2], "not valid JSON"),
        (&answer.replace("\"medium\"", "\"none\""), "unknown variant"),
        (&answer.replace("\"reads\"", "\"more\":1,\"reads\""), "unknown field"),
        (&answer.replace("\"reads\":[],", ""), "missing field"),
        (&answer.replace(":88", ":NaN"), "not valid JSON"),
        (&answer.replace("\"verdict\"", "\"verdict\":\"benign\",\"verdict\""), "not valid JSON"),
        (&format!("{answer}\n{}", answer.replace("\"medium\"", "\"high\"")), "more than one JSON object"),
    ] {
        let judged = of(text);
        assert_eq!(codes(&judged), ["form"], "{text}");
        assert!(judged.rejects[0].text.contains(says), "{says}: {}", judged.rejects[0].text);
    }
}

#[test]
fn a_claim_against_the_numbers_costs_the_actions_and_keeps_the_text() {
    type Change = fn(&mut Value);
    let cases: [(&str, &str, Change); 7] = [
        ("sign", "E1 says down, the answer claims up", |a| {
            a["findings"][0]["evidence"][0]["says"] = json!("up");
        }),
        ("grounds", "needs two rows", |a| {
            a["findings"][0]["evidence"].as_array_mut().unwrap().truncate(1);
        }),
        ("grounds", "of which no row is cited", |a| {
            a["findings"][0]["actions"][0]["offer"] = json!("O4");
            a["findings"][0]["actions"][0]["expect"]["metric"] = json!("M4");
        }),
        ("expect", "no metric of its finding", |a| {
            a["findings"][0]["actions"][0]["expect"]["metric"] = json!("M4");
        }),
        ("conflict", "O1 and O2 work against", |a| {
            let mut second = a["findings"][0]["actions"][0].clone();
            second["offer"] = json!("O2");
            a["findings"][0]["actions"].as_array_mut().unwrap().push(second);
        }),
        ("conflict", "benign needs no action", |a| a["verdict"] = json!("benign")),
        ("root", "without a root", |a| a["findings"][0]["root"] = Value::Null),
    ];
    for (code, says, change) in cases {
        let judged = judged(change);
        assert_eq!(judged.worst(), Some(Weight::Action), "{code} {says}: {judged:?}");
        let reject = judged.rejects.iter().find(|reject| reject.code == code).unwrap();
        assert!(reject.text.contains(says), "{}", reject.text);
        let view = &judged.opinion.unwrap().views[0];
        assert!(view.picks.is_empty() && !view.summary.is_empty());
    }
}

#[test]
fn one_row_that_is_a_fact_is_enough() {
    let judged = judged(|a| {
        let finding = &mut a["findings"][0];
        finding["category"] = json!("unit_failed");
        finding["root"] = json!("U2");
        finding["evidence"] = json!([{ "row": "E4", "says": "state" }]);
        finding["actions"][0]["offer"] = json!("O4");
        finding["actions"][0]["expect"]["metric"] = json!("M4");
    });
    assert_eq!(judged.rejects, []);
    assert_eq!(judged.opinion.unwrap().views[0].picks[0].action.name(), "start_service");
}

#[test]
fn a_text_in_another_language_gives_way_to_the_catalogue() {
    let sheet = plain();
    let judged = judge(&sound(&sheet).to_string(), &sheet, "vi", &Redactor::default());
    assert_eq!(codes(&judged), ["language"]);
    let view = &judged.opinion.unwrap().views[0];
    assert!(view.title.is_empty() && view.summary.is_empty() && view.picks.len() == 1);
}

#[test]
fn readings_are_the_seven_on_units_of_the_request() {
    let asked = |reads: Value| {
        judged(move |a| {
            a["verdict"] = json!("need_more");
            a["findings"][0]["actions"] = json!([]);
            a["reads"] = reads;
        })
    };
    let fine = asked(
        json!([{ "tool": "get_service_status", "target": "U2" }, { "tool": "get_disk_usage", "target": null }]),
    );
    assert_eq!((fine.rejects.len(), fine.reads.len()), (0, 2));
    for bad in [
        json!([]),
        Value::Array(vec![json!({ "tool": "get_disk_usage", "target": null }); 5]),
        json!([{ "tool": "run_shell", "target": null }]),
        json!([{ "tool": "get_service_status", "target": null }]),
        json!([{ "tool": "get_service_status", "target": "P1" }]),
        json!([{ "tool": "get_disk_usage", "target": "U1" }]),
        json!([{ "tool": "get_service_status", "target": "ssh.service" }]),
    ] {
        let judged = asked(bad.clone());
        assert!(judged.opinion.is_none() && judged.reads.is_empty(), "{bad}");
    }
    let unasked = judged(|a| a["reads"] = json!([{ "tool": "get_disk_usage", "target": null }]));
    assert!(unasked.reads.is_empty() && unasked.worst() == Some(Weight::Answer));
}
