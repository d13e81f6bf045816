use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::testing::{Hosts, NOW, Scripted, Words, incident, plain, processes, sound, units};
use super::*;
use crate::analyse::model::evidence::{Material, sheet};

/// Holds a conversation about the usual incident.
async fn held(hosts: &Hosts, script: impl FnMut(&AskRequest) -> Result<String, AskError> + Send) -> Outcome {
    let words = Words::default();
    let (incident, processes, units) = (incident(&words), processes(&words), units(&words));
    let make = |caps: Caps, _: bool, redactor: &mut Redactor| {
        let material = Material {
            incident: &incident,
            host: "web-07",
            processes: &processes,
            units: &units,
            past: &[],
            now: NOW,
        };
        sheet(&material, caps, redactor)
    };
    let question = Question {
        host: HostId(uuid::Uuid::from_u128(7)),
        severity: Severity::Critical,
        notes: Notes::default(),
        language: "en",
        redactor: Redactor::default(),
        sheet: &make,
    };
    hold(&Scripted(Mutex::new(script)), hosts, question).await
}

fn more(tool: &str) -> String {
    let mut answer = sound(&plain());
    answer["verdict"] = json!("need_more");
    answer["findings"][0]["actions"] = json!([]);
    answer["reads"] = json!([{ "tool": tool, "target": null }]);
    answer.to_string()
}

#[tokio::test]
async fn a_sound_answer_takes_one_request() {
    let outcome = held(&Hosts::default(), |_| Ok(sound(&plain()).to_string())).await;
    assert_eq!((outcome.verdict, outcome.turns.len(), outcome.rejects.len()), (Verdict::Accepted, 1, 0));
    assert_eq!(outcome.opinion.unwrap().views[0].picks.len(), 1);
    assert_eq!(outcome.said.len(), 2);
}

#[tokio::test]
async fn a_faulty_answer_is_mended_once_with_the_exact_reason() {
    let mut told = Vec::new();
    let outcome = held(&Hosts::default(), |request| {
        told.push(request.messages.last().unwrap().text.clone());
        let mut answer = sound(&plain());
        if told.len() == 1 {
            answer["findings"][0]["evidence"][0]["row"] = json!("E77");
        }
        Ok(answer.to_string())
    })
    .await;
    assert_eq!((outcome.verdict, outcome.turns.len()), (Verdict::Repaired, 2));
    assert!(told[1].contains("row E77 is not in the request"), "{}", told[1]);
    let outcome = held(&Hosts::default(), |_| Ok("no".into())).await;
    assert_eq!((outcome.verdict, outcome.turns.len(), outcome.opinion), (Verdict::Rejected, 2, None));
}

#[tokio::test]
async fn an_answer_against_its_rows_keeps_its_words_and_loses_its_actions() {
    let outcome = held(&Hosts::default(), |_| {
        let mut answer = sound(&plain());
        answer["findings"][0]["evidence"][0]["says"] = json!("up");
        Ok(answer.to_string())
    })
    .await;
    assert_eq!((outcome.verdict, outcome.turns.len()), (Verdict::Flagged, 2));
    assert!(outcome.opinion.unwrap().views[0].picks.is_empty());
}

#[tokio::test]
async fn no_answer_is_no_opinion_and_an_answer_cut_off_gets_half_the_evidence_once() {
    let outcome = held(&Hosts::default(), |_| Err(AskError::Quota)).await;
    assert_eq!(
        (outcome.verdict, outcome.error, outcome.turns.len()),
        (Verdict::Failed, Some(AskError::Quota), 0)
    );
    let mut sizes = Vec::new();
    let usage = Usage { prompt: 9, ..Usage::default() };
    let outcome = held(&Hosts::default(), |request| {
        sizes.push(request.messages[1].text.len());
        match sizes.len() {
            1 => Err(AskError::Truncated { usage }),
            _ => Ok(sound(&plain()).to_string()),
        }
    })
    .await;
    assert_eq!((outcome.verdict, outcome.turns.len()), (Verdict::Accepted, 2));
    assert!(sizes[1] < sizes[0], "{sizes:?}");
    let outcome = held(&Hosts::default(), |_| Err(AskError::Truncated { usage })).await;
    assert_eq!((outcome.verdict, outcome.turns.len()), (Verdict::Failed, 2));
}

#[tokio::test]
async fn a_deeper_look_reads_on_this_host_within_its_turns() {
    let hosts = Hosts::default();
    let mut asked = 0;
    let outcome = held(&hosts, |request| {
        asked += 1;
        if asked == 1 {
            return Ok(more("get_memory_usage"));
        }
        let rows = &request.schema["properties"]["findings"]["items"]["properties"]["evidence"]["items"];
        let rows = rows["properties"]["row"]["enum"].as_array().unwrap();
        assert_eq!(rows.last().unwrap(), "E5");
        assert!(request.messages.last().unwrap().text.contains("E5 M5 H1 state bytes.free=1"));
        let mut answer = sound(&plain());
        let cites = answer["findings"][0]["evidence"].as_array_mut().unwrap();
        cites.push(json!({ "row": "E5", "says": "state" }));
        Ok(answer.to_string())
    })
    .await;
    assert_eq!((outcome.verdict, outcome.turns.len()), (Verdict::Accepted, 2));
    assert_eq!(outcome.turns[1].purpose, "deep");
    assert_eq!(hosts.0.lock().unwrap().len(), 1);
    // One that never has enough.
    let hosts = Hosts::default();
    let outcome = held(&hosts, |_| Ok(more("get_cpu_usage"))).await;
    assert!(outcome.turns.len() <= 1 + deep::TURNS as usize, "{}", outcome.turns.len());
    assert!(hosts.0.lock().unwrap().len() <= deep::TURNS as usize);
    assert_eq!(outcome.opinion.unwrap().verdict, Says::NeedMore);
}

#[tokio::test]
async fn a_reading_of_no_kind_reaches_no_host() {
    let hosts = Hosts::default();
    let outcome = held(&hosts, |_| {
        let mut answer: Value = serde_json::from_str(&more("get_cpu_usage")).unwrap();
        answer["reads"][0]["tool"] = json!("rm -rf /");
        Ok(answer.to_string())
    })
    .await;
    assert_eq!(outcome.verdict, Verdict::Rejected);
    assert!(hosts.0.lock().unwrap().is_empty());
}
