//! Caps and addresses: what is not read, and where nothing is sent.

use std::io::Write as _;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use reqwest::dns::{Name, Resolve as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::analyse::model::body::{Depth, MAX_DEPTH};
use crate::analyse::model::extract::{ExtractError, object};
use crate::analyse::model::fault::Fault;
use crate::analyse::model::reply;
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

/// Pieces of which hostile texts are made: what means something somewhere, and what means nothing.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ",",
        "null",
        "1e999",
        "-1",
        "{\"choices\":[",
        "\"message\":{",
        "\"content\":",
        "\"usage\":{\"prompt_tokens\":",
        "\"error\":",
        "\"code\":400",
        "data: ",
        "\n\n",
        "[DONE]",
        "<think>",
        "</think>",
        "\u{feff}",
        "```json\n",
        "\"finish_reason\":\"length\"",
        "\"delta\":",
        "\u{0}",
        "ệ",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_comes_ends_in_an_answer_or_an_error_and_usage_is_never_absurd(
        bytes in pieces(),
        status in 300_u16..600,
    ) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = object(&text);
        let fault = Fault::status(status, &bytes, None, KEY);
        prop_assert!(fault.error.to_string().chars().count() < 400);
        let parsed = serde_json::from_slice(&bytes).ok().or_else(|| reply::from_events(&bytes));
        if let Some(Ok(reply)) = parsed.map(|value: serde_json::Value| reply::read(&value, 1_000)) {
            prop_assert!(reply.usage.prompt > 0 && reply.usage.total() < 3_000_000);
            prop_assert!(!reply.text.trim().is_empty());
        }
    }
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

/// A server with TLS that answers each request with the same; counts them.
async fn with_tls(acceptor: tokio_rustls::TlsAcceptor) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = heads.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = vec![0; 65_536];
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..n].starts_with(b"POST /v1/chat/completions HTTP/1.1"));
            count.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"choices":[{"message":{"content":"{}"},"finish_reason":"stop"}]}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (address, heads)
}

#[tokio::test]
async fn https_needs_a_certificate_of_a_known_authority() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(sysop_common::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (address, heads) = with_tls(tokio_rustls::TlsAcceptor::from(Arc::new(config))).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let stub = StubModel::start(Emulate::Vllm, SECOND).await;
    let mut model = settings(&stub, Some(Emulate::Vllm), "normal");
    model.endpoint = format!("https://localhost:{}/v1", address.port()).parse().unwrap();
    let trusting = |model: &Model| {
        ModelClient::with_pace(model, Clock::manual(NOW), Pace::scaled(model.timeouts, SECOND))
    };
    // A machine without any authority says so when the client is made.
    match trusting(&model) {
        Ok(client) => {
            let error = client.ask(question()).await.unwrap_err();
            assert!(error.code() == "unreachable" && error.to_string().contains("certificate"), "{error}");
        }
        Err(error) => assert!(error.to_string().contains("CA certificates"), "{error}"),
    }
    assert_eq!(heads.load(Ordering::SeqCst), 0, "nothing was sent to it");
    model.ca_file = Some(file.path().to_owned());
    assert_eq!(trusting(&model).unwrap().ask(question()).await.unwrap().text, "{}");
    assert_eq!(heads.load(Ordering::SeqCst), 1);
    model.ca_file = Some("/nonexistent.pem".into());
    assert!(trusting(&model).err().unwrap().to_string().contains("/nonexistent.pem: cannot be read"));
}
