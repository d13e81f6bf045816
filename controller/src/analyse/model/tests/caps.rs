//! Caps and addresses: what is not read, and where nothing is sent.

use std::str::FromStr as _;

use reqwest::dns::{Name, Resolve as _};

use super::*;
use crate::analyse::model::body::{Depth, MAX_DEPTH};
use crate::analyse::model::extract::{ExtractError, object};
use crate::analyse::model::transport::PrivateOnly;

#[test]
fn depth_counts_outside_of_strings_and_across_pieces() {
    let deep = "[".repeat(MAX_DEPTH);
    assert!(Depth::default().feed(deep.as_bytes()));
    assert!(!Depth::default().feed(format!("{deep}[").as_bytes()));
    assert!(Depth::default().feed(format!("{{\"a\":\"{deep}\\\"{deep}\"}}").as_bytes()));
    let mut pieces = Depth::default();
    assert!(pieces.feed(b"{\"a\\") && pieces.feed(b"\"") && pieces.feed(deep.as_bytes()));
    let mut pieces = Depth::default();
    assert!(pieces.feed(deep.as_bytes()) && !pieces.feed(b"["));
}

#[test]
fn one_object_is_found_and_what_two_readers_could_differ_on_is_refused() {
    for text in [
        "{\"a\":1}",
        "\u{feff} {\"a\":1} ",
        "```json\n{\"a\":1}\n```",
        "Here {it} is: {\"a\":1}. Bye!",
        "<think>{\"a\":2}</think>{\"a\":1}",
        "{\"a\":1}\n{\"a\":1}",
    ] {
        assert_eq!(object(text).unwrap()["a"], 1, "{text}");
    }
    let invalid = |text: &str| matches!(object(text), Err(ExtractError::Invalid(_)));
    assert!(invalid("{\"a\":1,\"a\":2}") && invalid("{\"b\":{\"a\":1,\"\\u0061\":2}}"));
    assert!(invalid("{\"a\":NaN}") && invalid("{\"a\":1,}") && invalid("{\"a\":1") && invalid("{'a':1}"));
    assert_eq!(object("{\"a\":1}{\"a\":2}"), Err(ExtractError::Several));
    assert_eq!(object("no, thank you"), Err(ExtractError::None));
    assert_eq!(object(&"{".repeat(100_000)), Err(ExtractError::TooLarge));
    assert_eq!(object(&"x".repeat(300_000)), Err(ExtractError::TooLarge));
}

#[tokio::test]
async fn over_plain_http_a_name_leads_to_private_addresses_alone() {
    let resolve = |name: &str| PrivateOnly.resolve(Name::from_str(name).unwrap());
    assert!(resolve("127.0.0.1").await.is_ok());
    for public in ["8.8.8.8", "169.254.169.254", "2001:4860:4860::8888"] {
        assert!(resolve(public).await.is_err(), "{public}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_apart() {
    let stub = StubModel::start(Emulate::Ollama, SECOND).await;
    let client = client(&stub, Emulate::Ollama, "normal");
    drop(stub);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = client.ask(question()).await.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    assert!(error.to_string().contains("refused") && error.remedy().unwrap().contains("model.base_url"));
}
