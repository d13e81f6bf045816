//! The identity over restarts, tokens, and what a certificate says.

use std::collections::BTreeMap;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P384_SHA384, SanType};
use sysop_common::bytes::Bytes;
use sysop_common::time::{DAY_MS, MINUTE_MS};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::link::tests::world::Key;
use crate::store::{StoreError, enrollment_tokens, hosts, leases, testing};

async fn open(dir: &Path) -> (Db, Identity) {
    let db = Db::open_control(dir).await.unwrap();
    let identity = Identity::open(&db, dir).await.unwrap();
    (db, identity)
}

fn now() -> UnixMs {
    UnixMs::from_system(std::time::SystemTime::now())
}

#[tokio::test]
async fn the_ca_and_the_dispatch_key_are_made_once_and_kept_wrapped() {
    let dir = tempfile::tempdir().unwrap();
    let (db, first) = open(dir.path()).await;
    let (fingerprint, controller) = (first.ca_fingerprint(), first.controller());
    let public = first.dispatch_key().public().to_vec();
    db.close().await;
    let (db, again) = open(dir.path()).await;
    assert_eq!((again.ca_fingerprint(), again.controller()), (fingerprint, controller));
    assert_eq!(again.dispatch_key().public(), public);
    assert_eq!(authority::dispatch_certificates(&db).await.unwrap().len(), 1);
    // The stored forms hold no key that anybody could read.
    let row = authority::get(&db).await.unwrap().unwrap();
    assert!(KeyPair::try_from(row.wrapped_key.as_slice()).is_err());
    // Without the key file, or with another one, nothing starts and nothing is made anew.
    let kept = std::fs::read(dir.path().join("key")).unwrap();
    std::fs::remove_file(dir.path().join("key")).unwrap();
    assert!(Identity::open(&db, dir.path()).await.unwrap_err().to_string().contains("restore it"));
    KeyFile::open(dir.path(), true).unwrap();
    assert!(Identity::open(&db, dir.path()).await.unwrap_err().to_string().contains("another installation"));
    std::fs::write(dir.path().join("key"), kept).unwrap();
    Identity::open(&db, dir.path()).await.unwrap();
}

#[tokio::test]
async fn a_bad_token_is_refused_with_one_text_whatever_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (db, identity) = open(dir.path()).await;
    let start = now();
    let token = async |new: NewToken| identity.create_token(new, start).await.unwrap();
    let good = token(NewToken { max_uses: 2, ..NewToken::single("rack 4", "ann") }).await;
    for _ in 0..2 {
        identity.enrol(&Key::new().request(good.text.clone()), start).await.unwrap();
    }
    let expired = token(NewToken::single("late", "ann")).await;
    let withdrawn = token(NewToken::single("oops", "ann")).await;
    let mut tx = db.begin().await.unwrap();
    enrollment_tokens::revoke(&mut tx, &withdrawn.id, start).await.unwrap();
    tx.commit().await.unwrap();
    let gone = token(NewToken::single("gone", "ann")).await;
    let mut texts = Vec::new();
    for (text, at) in [
        (good.text, start),
        (expired.text, start.plus(15 * MINUTE_MS)),
        (withdrawn.text, start),
        (gone.text[1..].to_owned(), start),
        (String::new(), start),
    ] {
        texts.push(identity.enrol(&Key::new().request(text), at).await.unwrap_err().to_string());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let listed = enrollment_tokens::list(&db, 10).await.unwrap();
    assert_eq!(listed.iter().map(|token| token.uses).sum::<u32>(), 2);
    assert_eq!(hosts::count(&db).await.unwrap(), 2);
    for new in [
        NewToken { life_ms: 31 * DAY_MS, ..NewToken::single("x", "ann") },
        NewToken { max_uses: 0, ..NewToken::single("x", "ann") },
        NewToken { labels: BTreeMap::from([("host.os".into(), "x".into())]), ..NewToken::single("x", "ann") },
        NewToken { recovers: Some(HostId(uuid::Uuid::now_v7())), ..NewToken::single("x", "ann") },
    ] {
        assert!(identity.create_token(new, start).await.is_err());
    }
}

#[tokio::test]
async fn a_certificate_says_who_the_host_is_and_nothing_that_it_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (db, identity) = open(dir.path()).await;
    let token = async || identity.create_token(NewToken::single("t", "ann"), now()).await.unwrap().text;
    // A request that wants to be a server called admin.
    let key = Key::new();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("admin".try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut request = key.request(token().await);
    request.csr = Bytes(params.serialize_request(&key.0).unwrap().der().to_vec());
    let enrolled = identity.enrol(&request, now()).await.unwrap();
    assert_eq!(host_of(&enrolled.certificate.0).unwrap(), enrolled.host);
    let (_, certificate) = X509Certificate::from_der(&enrolled.certificate.0).unwrap();
    let life = certificate.validity().not_after.timestamp() * 1_000 - now().0;
    assert!((29 * DAY_MS..=30 * DAY_MS).contains(&life));
    assert!(host_of(identity.ca_certificate()).is_err());

    // Not its own key, another curve, no request at all, no name to show.
    let foreign = {
        let mut csr = Key::new().csr().0;
        let last = csr.len() - 1;
        csr[last] ^= 1;
        csr
    };
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = CertificateParams::default().serialize_request(&p384).unwrap().der().to_vec();
    for csr in [foreign, p384, vec![], vec![0x30; 40]] {
        let mut request = Key::new().request(token().await);
        request.csr = Bytes(csr);
        assert!(matches!(identity.enrol(&request, now()).await, Err(EnrolError::Request(_))));
    }
    for name in ["", " \n", "a\u{1b}[31m", &"x".repeat(129)] {
        let mut request = Key::new().request(token().await);
        request.hostname = name.into();
        assert!(matches!(identity.enrol(&request, now()).await, Err(EnrolError::Request(_))), "{name:?}");
    }
    assert_eq!(hosts::count(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn revoked_or_expired_identity_cannot_renew() {
    let dir = tempfile::tempdir().unwrap();
    let (db, identity) = open(dir.path()).await;
    let enrolled = async || {
        let token = identity.create_token(NewToken::single("t", "ann"), now()).await.unwrap().text;
        identity.enrol(&Key::new().request(token), now()).await.unwrap()
    };
    let first = enrolled().await;
    let old = tls::fingerprint(&first.certificate.0);
    let csr = Key::new().csr().0;
    let due = now().plus(16 * DAY_MS);
    let early = identity.renew(first.host, old, &csr, now().plus(14 * DAY_MS)).await;
    assert!(matches!(early, Err(IdentityError::Store(StoreError::TooSoon(_)))), "in its first half");
    identity.renew(first.host, old, &csr, due).await.unwrap();
    let again = identity.renew(first.host, old, &csr, due.plus(DAY_MS)).await;
    assert!(matches!(again, Err(IdentityError::Store(StoreError::TooSoon(_)))), "one a day at most");
    identity.renew(first.host, old, &csr, due.plus(2 * DAY_MS)).await.unwrap();
    assert!(identity.renew(first.host, old, &csr, now().plus(31 * DAY_MS)).await.is_err(), "expired");
    let second = enrolled().await;
    assert!(identity.renew(second.host, old, &csr, due).await.is_err(), "another host's");
    assert_eq!(testing::revoke_host(&db, first.host).await, 3);
    assert!(identity.renew(first.host, old, &csr, due).await.is_err(), "revoked");
    let all = certificates::of_host(&db, first.host).await.unwrap();
    assert!(all.iter().all(|c| c.revoked_by.as_deref() == Some("ann")));
    testing::remove_host(&db, second.host).await;
    let other = tls::fingerprint(&second.certificate.0);
    assert!(identity.renew(second.host, other, &csr, due).await.is_err(), "removed");
    let recovery = NewToken { recovers: Some(second.host), ..NewToken::single("t", "ann") };
    assert!(identity.create_token(recovery, now()).await.is_err(), "a removed host does not come back");
}

#[tokio::test]
async fn a_lease_rises_with_each_new_owner_and_one_of_two_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (db, identity) = open(dir.path()).await;
    let token = identity.create_token(NewToken::single("t", "ann"), now()).await.unwrap().text;
    let host = identity.enrol(&Key::new().request(token), now()).await.unwrap().host;
    let (ours, theirs) = (identity.controller(), ControllerId(uuid::Uuid::now_v7()));
    assert_eq!(leases::claim(&db, host, ours).await.unwrap(), 1);
    assert_eq!(leases::claim(&db, host, ours).await.unwrap(), 1, "it stays");
    assert_eq!(leases::claim(&db, host, theirs).await.unwrap(), 2);
    assert_eq!(leases::claim(&db, host, ours).await.unwrap(), 3);
    assert_eq!(leases::renew(&db, host, ours).await.unwrap(), 4);
    let both: Vec<_> = [ours, theirs]
        .map(|who| {
            let db = db.clone();
            tokio::spawn(async move { leases::renew(&db, host, who).await })
        })
        .into();
    let mut won = Vec::new();
    for one in both {
        won.extend(one.await.unwrap().ok());
    }
    assert!(!won.is_empty() && leases::get(&db, host).await.unwrap().number == *won.iter().max().unwrap());
    won.dedup();
    assert!(won.windows(2).all(|pair| pair[0] != pair[1]), "no number twice: {won:?}");
}
