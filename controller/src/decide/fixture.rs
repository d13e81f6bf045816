//! A controller without link and web, for tests of decisions and of what follows them.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::pki_types::CertificateDer;
use sysop_common::action::{Action, CATALOGUE, Risk};
use sysop_common::finding::{Category, Evidence, Finding, Offer, OfferSource, Severity, Value, fingerprint};
use sysop_common::grant::{Allowed, Grants};
use sysop_common::ids::{ControllerId, HostId};
use sysop_common::order::{DispatchKey, dispatch_usage_oid};
use sysop_common::time::UnixMs;
use sysop_common::wire::Inventory;
use uuid::Uuid;

use super::{Ctx, Person};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::store::incidents::{self, Incident};
use crate::store::samples::{Options, SampleStore};
use crate::store::users::{self, NewUser, Role};
use crate::store::{Db, testing};
use crate::wake::Wakes;

pub(crate) const NOW: UnixMs = UnixMs(1_800_000_000_000);

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ctx: Ctx,
    pub(crate) key: Arc<DispatchKey>,
    pub(crate) ca: CertificateDer<'static>,
}

pub(crate) fn host_id(n: u128) -> HostId {
    HostId(Uuid::from_u128(0x0190_b6a5_7c1e_7c3a_9f00_1c2d_3e4f_0000 + n))
}

pub(crate) fn restart(unit: &str) -> Action {
    Action::RestartService { unit: unit.parse().unwrap() }
}

pub(crate) fn ann() -> Person {
    Person::user("ann", Role::Admin)
}

pub(crate) fn bob() -> Person {
    Person::user("bob", Role::Operator)
}

impl Fixture {
    /// With `hosts` hosts whose owners allow restarts, also without a person, and two people.
    pub(crate) async fn new(hosts: u128) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let samples = SampleStore::open(dir.path(), Options::default()).await.unwrap();
        let clock = Clock::manual(NOW);
        let audit = Audit::new(ControllerId(Uuid::from_u128(7)), clock.clone());
        let (ca, key) = keys();
        testing::authority(&db, &ca).await;
        for n in 1..=hosts {
            testing::host(&db, host_id(n), &format!("web-{n}")).await;
            testing::inventory(&db, host_id(n), &inventory(true)).await;
        }
        for (name, role) in [("ann", Role::Admin), ("bob", Role::Operator), ("vic", Role::Viewer)] {
            let user = NewUser { name, password_hash: "-", role, must_change: false };
            let mut tx = db.begin().await.unwrap();
            users::create(&mut tx, user, NOW).await.unwrap();
            tx.commit().await.unwrap();
        }
        let ctx = Ctx { db, samples, audit, wakes: Wakes::default(), clock };
        Self { dir, ctx, key: Arc::new(key), ca }
    }

    /// Opens an incident "nginx.service failed" with one offer, on host `n`.
    pub(crate) async fn incident(&self, n: u128, action: Action) -> i64 {
        let incident = incident(host_id(n), action, self.ctx.clock.now());
        let mut tx = self.ctx.db.begin().await.unwrap();
        let id = incidents::insert(&mut tx, &incident).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Changes an incident as the analyser would.
    pub(crate) async fn change(&self, id: i64, change: impl FnOnce(&mut Incident)) {
        let mut tx = self.ctx.db.begin().await.unwrap();
        let mut incident = incidents::get(&mut tx, id).await.unwrap().unwrap();
        change(&mut incident);
        incidents::update(&mut tx, &incident).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Actions in the audit chain, oldest first; the chain is checked on the way.
    pub(crate) async fn audited(&self) -> Vec<String> {
        crate::audit::verify(&self.dir.path().join("control.db"), &[]).await.unwrap();
        let id = self.ctx.audit.controller();
        let mut conn = self.ctx.db.reader().await.unwrap();
        let rows = crate::store::audit::after(&mut conn, id, 0, 1_000).await.unwrap();
        rows.into_iter().map(|row| row.action).collect()
    }
}

/// An executor that knows the whole catalogue; restarts of any unit are allowed.
pub(crate) fn inventory(automatic: bool) -> Inventory {
    let allow = |action: &str| Allowed {
        action: action.into(),
        units: vec!["*".into()],
        automatic,
        ..Allowed::default()
    };
    Inventory {
        catalogue: CATALOGUE.iter().map(|entry| (entry.name.to_owned(), entry.version)).collect(),
        grants: Grants {
            executor: true,
            max_actions_per_hour: 10,
            allow: vec![allow("restart_service"), allow("start_service"), allow("stop_service")],
            ..Grants::default()
        },
        ..Inventory::default()
    }
}

pub(crate) fn incident(host: HostId, action: Action, now: UnixMs) -> Incident {
    let finding = Finding {
        category: Category::UnitFailed,
        entity: "nginx.service".into(),
        severity: Severity::Critical,
        confidence: 100,
        onset: now,
        last_true: now,
        active: true,
        title: "nginx.service failed".into(),
        cause: String::new(),
        culprit: None,
        evidence: vec![Evidence {
            id: "E1".into(),
            metric: "unit.active".into(),
            label: "nginx.service".into(),
            from: now,
            to: now,
            before: None,
            value: Value::Word("failed".into()),
            text: "nginx.service is failed".into(),
        }],
        not_observed: Vec::new(),
        caused_by: None,
    };
    let offer = Offer {
        id: "O1".into(),
        finding: finding.fingerprint(),
        risk: action.entry().floor,
        action,
        source: OfferSource::Analyser,
        unattended: true,
        why: "nginx.service failed".into(),
        pre_check: "it is still failed".into(),
        expect: "it is active".into(),
        not_fixed: "why it failed".into(),
    };
    Incident {
        id: 0,
        host: Some(host),
        fingerprint: fingerprint(Category::UnitFailed, "nginx.service"),
        category: Category::UnitFailed,
        entity: "nginx.service".into(),
        severity: Severity::Critical,
        title: "nginx.service failed".into(),
        cause: String::new(),
        confidence: 100,
        findings: vec![finding],
        offers: vec![offer],
        opened_at: now,
        updated_at: now,
        last_true: now,
        closed_at: None,
        close_why: None,
        acked_by: None,
        acked_at: None,
        opens: 1,
    }
}

fn keys() -> (CertificateDer<'static>, DispatchKey) {
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(params, ca_key).unwrap();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(dispatch_usage_oid().to_vec())];
    let certificate = params.signed_by(&key, &ca).unwrap();
    let key = DispatchKey::new(&key.serialize_der(), certificate.der().to_vec()).unwrap();
    (ca.der().clone(), key)
}

/// Marks the whole of an offer's risk, for actions that a test wants at a level.
pub(crate) fn with_risk(incident: &mut Incident, risk: Risk) {
    incident.offers.iter_mut().for_each(|offer| offer.risk = risk);
}
