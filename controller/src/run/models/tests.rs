use std::collections::BTreeMap;

use sysop_common::time::UnixMs;

use super::*;
use crate::config::{Config, Sources};
use crate::store::samples::Options;
use crate::web::models::Models as _;

async fn advisor(dir: &std::path::Path) -> Arc<Advisor> {
    let config =
        Config::load(Sources::new(vec![], BTreeMap::new(), None, "/nonexistent".as_ref()).unwrap()).unwrap();
    let db = Db::open_control(dir).await.unwrap();
    let samples = SampleStore::open(dir, Options::default()).await.unwrap();
    let identity = Identity::open(&db, dir).await.unwrap();
    let clock = Clock::manual(UnixMs(1_800_000_000_000));
    let audit = Audit::new(identity.controller(), clock.clone());
    Advisor::open(config.model, (&db, &samples), (&audit, &Wakes::default(), &clock), &identity)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_set_on_a_page_holds_at_once_and_after_a_restart_and_the_key_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let canary = "sk-canary-0123456789abcdef";
    {
        let first = advisor(dir.path()).await;
        assert!(!first.state().ready && first.stage().borrow().is_none());
        let values = vec![
            ("base_url", "http://127.0.0.1:9/v1".to_owned()),
            ("name", "small".to_owned()),
            ("language", "vi".to_owned()),
            ("api_key", canary.to_owned()),
        ];
        first.change(Change { pseudonyms: Some(true), values, on: None }, "user:ann").await.unwrap();
        let state = first.state();
        assert!(state.ready && state.key && state.pseudonyms && !format!("{state:?}").contains(canary));
        assert_eq!(first.stage().borrow().as_ref().unwrap().model.name, "small");
        let bad = Change {
            values: vec![("base_url", "ftp://x".into()), ("name", "other".into())],
            ..Change::default()
        };
        assert!(matches!(
            first.change(bad, "user:ann").await,
            Err(ModelsError::Invalid { field: "base_url", .. })
        ));
        assert_eq!(first.stage().borrow().as_ref().unwrap().model.name, "small", "all or nothing");
        // The key was given for one server: whoever names another does not make it go there.
        for elsewhere in ["https://evil.example/v1", "http://127.0.0.1:10/v1", ""] {
            let values = vec![("base_url", elsewhere.to_owned())];
            let moved = first.change(Change { values, ..Change::default() }, "user:ann").await;
            assert!(matches!(moved, Err(ModelsError::Invalid { field: "api_key", .. })), "{elsewhere}");
        }
        let values = vec![("base_url", "http://127.0.0.1:9/v2".to_owned())];
        first.change(Change { values, ..Change::default() }, "user:ann").await.unwrap();
        first.stop();
        first.db.close().await;
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "the key lies open");
    }
    let second = advisor(dir.path()).await;
    let stage = second.stage().borrow().clone().unwrap();
    assert_eq!(stage.model.key.as_ref().unwrap().expose(), canary);
    assert_eq!((stage.model.language.as_str(), stage.pseudonyms), ("vi", true));
    second.change(Change { on: Some(false), ..Change::default() }, "user:ann").await.unwrap();
    assert!(second.stage().borrow().is_none() && second.state().ready);
    let away =
        Change { values: vec![("api_key", String::new()), ("base_url", String::new())], ..Change::default() };
    second.change(away, "user:ann").await.unwrap();
    assert!(!second.state().key && !second.state().ready);
    second.stop();
}
