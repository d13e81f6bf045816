use std::path::PathBuf;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use serde_json::json;
use sysop_common::order::{DispatchKey, dispatch_usage_oid};
use sysop_common::time::UnixMs;

use super::*;
use crate::store::testing;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

struct Chain {
    dir: tempfile::TempDir,
    db: Db,
    audit: Audit,
    key: DispatchKey,
}

impl Chain {
    /// Nine records; heads signed after the third and the ninth.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = CertifiedIssuer::self_signed(params, ca_key).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(dispatch_usage_oid().to_vec())];
        let certificate = params.signed_by(&key, &ca).unwrap();
        let key = DispatchKey::new(&key.serialize_der(), certificate.der().to_vec()).unwrap();
        testing::authority(&db, ca.der()).await;
        let audit = Audit::new(ControllerId(uuid::Uuid::from_u128(7)), Clock::manual(NOW));
        let chain = Self { dir, db, audit, key };
        for n in 1..=9 {
            chain.add(n).await;
            if n % 6 == 3 {
                sign_head(&chain.audit, &chain.db, &chain.key).await.unwrap();
            }
        }
        chain
    }

    async fn add(&self, n: i32) {
        let record = Record::new("user:ann", "run.approve", format!("run:{n}"), json!({ "n": n }));
        self.audit.record(&self.db, &record).await.unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("control.db")
    }

    async fn broken_after(&self, edit: &'static [&'static str]) -> Broken {
        testing::tamper(&self.db, edit).await;
        match verify(&self.file(), &[]).await {
            Err(VerifyError::Broken(broken)) => broken,
            other => panic!("{edit:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_whole_chain_is_sound_and_tells_its_head() {
    let chain = Chain::new().await;
    let head = chain.audit.head(&mut chain.db.reader().await.unwrap()).await.unwrap();
    let report = verify(&chain.file(), &[head]).await.unwrap();
    assert_eq!(report.chains.len(), 1);
    let found = &report.chains[0];
    assert_eq!((found.records, found.head, found.signed_heads), (9, head, 2));
    let foreign = verify(&chain.file(), &[Digest([9; 32])]).await;
    assert!(matches!(foreign, Err(VerifyError::MissingAnchor(_))));
}

#[tokio::test]
async fn each_way_to_change_the_past_names_the_first_broken_record() {
    for (edit, seq) in [
        (&["UPDATE audit SET actor = 'user:eve' WHERE seq = 4"][..], 4),
        (&["UPDATE audit SET at = at + 1 WHERE seq = 1"], 1),
        (&["UPDATE audit SET hash = zeroblob(32) WHERE seq = 9"], 9),
        (&["DELETE FROM audit WHERE seq = 5"], 5),
        (&["DELETE FROM audit WHERE seq = 1"], 1),
        // The tail, with or without the head that was signed over it.
        (&["DELETE FROM audit WHERE seq > 7"], 8),
        (&["DELETE FROM audit"], 1),
        // Reordered: content of two records swapped.
        (
            &[
                "UPDATE audit SET seq = 100 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = 5",
                "UPDATE audit SET seq = 5 WHERE seq = 100",
            ],
            4,
        ),
        (&["UPDATE audit_heads SET signature = zeroblob(64) WHERE seq = 3"], 3),
        (&["UPDATE audit_heads SET certificate = x'00' WHERE seq = 9"], 9),
        (&["UPDATE audit_heads SET at = at + 1 WHERE seq = 3"], 3),
        (&["UPDATE audit SET previous = x'00' WHERE seq = 6"], 6),
        (&["DELETE FROM authority"], 3),
    ] {
        let chain = Chain::new().await;
        let broken = chain.broken_after(edit).await;
        assert_eq!(broken.seq, seq, "{edit:?}: {broken}");
    }
}

#[tokio::test]
async fn a_chain_written_anew_without_the_key_is_caught_by_its_signed_heads() {
    let chain = Chain::new().await;
    testing::tamper(&chain.db, &["DELETE FROM audit"]).await;
    for n in 1..=9 {
        chain.add(n + 100).await;
    }
    let Err(VerifyError::Broken(broken)) = verify(&chain.file(), &[]).await else { panic!() };
    assert_eq!(broken.seq, 3, "{broken}");
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_records() {
    let chain = Chain::new().await;
    for edit in [
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "UPDATE audit_heads SET seq = 1",
        "DELETE FROM audit_heads",
    ] {
        assert!(testing::try_sql(&chain.db, edit).await.is_err(), "{edit}");
    }
}

#[tokio::test]
async fn a_record_and_its_change_are_written_together_or_not_at_all() {
    let chain = Chain::new().await;
    let mut tx = chain.db.begin().await.unwrap();
    chain.audit.append(&mut tx, &Record::system("x.y", "z:1", json!({}))).await.unwrap();
    drop(tx);
    chain.add(10).await;
    assert_eq!(verify(&chain.file(), &[]).await.unwrap().chains[0].records, 10);
}

proptest! {
    #[test]
    fn no_text_moves_between_fields_without_changing_the_hash(
        a in ".{0,12}", b in ".{0,12}", cut in any::<prop::sample::Index>(),
    ) {
        let row = |actor: &str, action: &str| AuditRow {
            controller: ControllerId(uuid::Uuid::nil()),
            seq: 1,
            at: NOW,
            actor: actor.into(),
            action: action.into(),
            object: String::new(),
            detail: String::new(),
            previous: chain::GENESIS,
            hash: chain::GENESIS,
        };
        let joined: Vec<char> = a.chars().chain(b.chars()).collect();
        let cut = cut.index(joined.len() + 1);
        let (c, d): (String, String) = (joined[..cut].iter().collect(), joined[cut..].iter().collect());
        prop_assert_eq!(chain::hash(&row(&a, &b)) == chain::hash(&row(&c, &d)), a == c);
    }
}
