use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::action::Refusal;
use crate::wire::limits;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn dispatch_key(&self, usage: ExtendedKeyUsagePurpose) -> DispatchKey {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        DispatchKey::new(&key.serialize_der(), certificate.der().to_vec()).unwrap()
    }
}

fn dispatch_usage() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(dispatch_usage_oid().to_vec())
}

fn host() -> HostId {
    "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b".parse().unwrap()
}

fn order() -> Order {
    let action = Action::RestartService { unit: "nginx.service".parse().unwrap() };
    Order {
        version: ORDER_VERSION,
        id: OrderId(uuid::Uuid::now_v7()),
        host: host(),
        entry: action.entry().digest(),
        action,
        not_before: NOW,
        expires: NOW.plus(60_000),
        lease: 1,
        audit_head: Digest([7; 32]),
        origin: Origin::Automatic,
        risk: Risk::Medium,
        reason: "nginx.service failed".into(),
    }
}

fn reason(trust: &TrustRoot, signed: &SignedOrder, now: UnixMs) -> Option<Refusal> {
    let bytes = serde_cbor::ser::to_vec_packed(signed).unwrap();
    trust.check(&bytes, now).err().map(|e| e.reason)
}

#[test]
fn a_good_order_is_read_back_and_its_encoding_is_deterministic() {
    let ca = Ca::new();
    let key = ca.dispatch_key(dispatch_usage());
    let order = order();
    let signed = key.sign(&order).unwrap();
    let trust = TrustRoot::new(&ca.der(), host()).unwrap();
    let bytes = serde_cbor::ser::to_vec_packed(&signed).unwrap();
    assert!(bytes.len() < 1_024, "{}", bytes.len());
    assert_eq!(trust.check(&bytes, NOW.plus(1)).unwrap(), order);
    assert_eq!(limits::decode::<Order>(&signed.order.0).unwrap().encode().unwrap(), signed.order.0);
}

#[test]
fn each_wrong_order_is_refused_for_its_own_reason() {
    let (ca, other) = (Ca::new(), Ca::new());
    let key = ca.dispatch_key(dispatch_usage());
    let trust = TrustRoot::new(&ca.der(), host()).unwrap();
    let signed = |change: &dyn Fn(&mut Order)| {
        let mut order = order();
        change(&mut order);
        key.sign(&order).unwrap()
    };
    let good = signed(&|_| {});

    let mut unsigned = good.clone();
    unsigned.signature.0.clear();
    assert_eq!(reason(&trust, &unsigned, NOW), Some(Refusal::Unsigned));

    let foreign = other.dispatch_key(dispatch_usage()).sign(&order()).unwrap();
    assert_eq!(reason(&trust, &foreign, NOW), Some(Refusal::UntrustedKey));
    let agent_key = ca.dispatch_key(ExtendedKeyUsagePurpose::ClientAuth).sign(&order()).unwrap();
    assert_eq!(reason(&trust, &agent_key, NOW), Some(Refusal::UntrustedKey));

    let elsewhere = signed(&|o| o.host = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6c".parse().unwrap());
    assert_eq!(reason(&trust, &elsewhere, NOW), Some(Refusal::WrongHost));
    assert_eq!(reason(&trust, &good, NOW.plus(-1)), Some(Refusal::NotYet));
    assert_eq!(reason(&trust, &good, NOW.plus(60_001)), Some(Refusal::Expired));
    assert_eq!(
        reason(&trust, &signed(&|o| o.expires = NOW.plus(MAX_LIFE_MS + 1)), NOW),
        Some(Refusal::LifetimeTooLong)
    );
    assert_eq!(reason(&trust, &signed(&|o| o.entry = Digest([0; 32])), NOW), Some(Refusal::UnknownAction));
    assert_eq!(reason(&trust, &signed(&|o| o.version = 2), NOW), Some(Refusal::Malformed));
    assert_eq!(trust.check(b"junk", NOW).unwrap_err().reason, Refusal::Malformed);
    assert_eq!(trust.check(&vec![0; MAX_SIGNED_ORDER + 1], NOW).unwrap_err().reason, Refusal::Malformed);
    assert_eq!(reason(&trust, &good, NOW), None);
}

#[test]
fn no_order_altered_by_one_bit_is_accepted() {
    let ca = Ca::new();
    let signed = ca.dispatch_key(dispatch_usage()).sign(&order()).unwrap();
    let trust = TrustRoot::new(&ca.der(), host()).unwrap();
    for at in 0..signed.order.0.len() {
        let mut altered = signed.clone();
        altered.order.0[at] ^= 1 << (at % 8);
        assert_eq!(reason(&trust, &altered, NOW), Some(Refusal::BadSignature), "byte {at}");
    }
    for at in 0..signed.signature.0.len() {
        let mut altered = signed.clone();
        altered.signature.0[at] ^= 0x10;
        assert_eq!(reason(&trust, &altered, NOW), Some(Refusal::BadSignature), "byte {at}");
    }
}
