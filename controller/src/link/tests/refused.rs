//! Who gets nothing, on either transport.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sysop_common::ids::HostId;
use sysop_common::tls::{self, host_uri};
use sysop_common::wire::frame::{kind, put};
use sysop_common::wire::{EnrolAnswer, Upward};

use super::world::{Agent, BOTH, Credentials, Key, Wire, World, hello, now, tick};
use crate::link::ports::Transport;
use crate::store::{hosts, testing};

/// What a certificate of the real CA says.
#[derive(Default)]
struct Says {
    names: Vec<SanType>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    /// Validity in days from now.
    days: (i64, i64),
}

fn uri(host: HostId) -> SanType {
    SanType::URI(host_uri(host).as_str().try_into().unwrap())
}

fn issue(world: &World, key: &KeyPair, says: Says) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = says.names;
    params.extended_key_usages = says.usages;
    let day = |n: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((now().0 / 1_000 + n * 86_400) as u64)
    };
    (params.not_before, params.not_after) = (day(says.days.0), day(says.days.1));
    params.signed_by(key, world.identity.authority()).unwrap().der().to_vec()
}

/// Presents `chain` for a host that is enrolled; nothing comes of it. Returns the reason that came.
async fn gets_nothing(world: &World, chain: Vec<Vec<u8>>, key: Key, what: &str) -> Vec<String> {
    let ca = world.identity.ca_certificate().to_vec();
    let who = Credentials { host: HostId(uuid::Uuid::nil()), key, chain, ca };
    let mut reasons = Vec::new();
    for transport in BOTH {
        let got = Agent::connect(world, &who, transport, hello(7, None)).await;
        let reason = got.err().unwrap_or_else(|| panic!("{what} over {transport:?} got a session"));
        assert_eq!(world.registry.count(), 0, "{what}");
        reasons.push(reason);
    }
    reasons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_negative_matrix_both_transports() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let good = world.enrolled().await;
    let client = || vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = || Key(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let both = (-1, 30);

    // Another CA that names the same host.
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let foreign = CertifiedIssuer::self_signed(params, key().0).unwrap();
    let own = key();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(good.host)];
    params.extended_key_usages = client();
    let leaf = params.signed_by(&own.0, &foreign).unwrap().der().to_vec();
    gets_nothing(&world, vec![leaf], own, "another CA").await;

    // Our CA, but not what a host's certificate says.
    let dns = || SanType::DnsName("web-1.example".try_into().unwrap());
    let other = HostId(uuid::Uuid::now_v7());
    let odd = || SanType::URI("sysop://host/..%2f..%2f".try_into().unwrap());
    for (what, names, usages, days, part) in [
        ("no name", vec![], client(), both, "does not name exactly one host"),
        ("a DNS name", vec![dns()], client(), both, "does not name exactly one host"),
        ("two names", vec![uri(good.host), uri(other)], client(), both, "does not name exactly one host"),
        ("a name that is no host", vec![odd()], client(), both, "does not name a host"),
        ("no usage", vec![uri(good.host)], vec![], both, "not for clients only"),
        (
            "both usages",
            vec![uri(good.host)],
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
            both,
            "not for clients only",
        ),
        ("a server's usage", vec![uri(good.host)], vec![ExtendedKeyUsagePurpose::ServerAuth], both, ""),
        ("an expired one", vec![uri(good.host)], client(), (-9, -1), ""),
        ("one of tomorrow", vec![uri(good.host)], client(), (1, 30), ""),
        (
            "one that is not in the store",
            vec![uri(good.host)],
            client(),
            both,
            "not issued by this controller",
        ),
        ("one of an unknown host", vec![uri(other)], client(), both, "not issued by this controller"),
    ] {
        let own = key();
        let leaf = issue(&world, &own.0, Says { names, usages, days });
        for reason in gets_nothing(&world, vec![leaf], own, what).await {
            assert!(reason.contains(part), "{what}: {reason}");
        }
    }

    // None at all, and another application protocol.
    let ca = CertificateDer::from(world.identity.ca_certificate().to_vec());
    for transport in BOTH {
        let mut anonymous = tls::enrolment(world.identity.ca_fingerprint()).unwrap();
        anonymous.alpn_protocols = vec![b"sysop/1".to_vec()];
        let wire = Wire::connect(world.address, transport, anonymous).await;
        let got = match wire {
            Ok(wire) => Agent::on(wire, hello(7, None)).await.map(drop),
            Err(why) => Err(why),
        };
        assert!(got.is_err(), "no certificate over {transport:?}");
        for protocol in [&b"h2"[..], b"sysop/2"] {
            let mut config = good.tls();
            config.alpn_protocols = vec![protocol.to_vec()];
            assert!(Wire::connect(world.address, transport, config).await.is_err());
        }
    }
    // TLS 1.2 is not spoken.
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates({
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca).unwrap();
            roots
        })
        .with_client_auth_cert(
            vec![CertificateDer::from(good.chain[0].clone())],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(good.key.0.serialize_der())),
        )
        .unwrap();
    assert!(Wire::connect(world.address, Transport::Tcp, config).await.is_err());

    // The good one gets in, and not after it is revoked or its host removed.
    for transport in BOTH {
        Agent::connect(&world, &good, transport, hello(7, None)).await.unwrap();
    }
    let removed = world.enrolled().await;
    testing::remove_host(&world.db, removed.host).await;
    testing::revoke_host(&world.db, good.host).await;
    world.registry.close(good.host, "revoked");
    for who in [good, removed] {
        for reason in gets_nothing(&world, who.chain, who.key, "a revoked one").await {
            assert!(reason.contains("revoked"), "{reason}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_kills_live_quic_and_tcp_and_resumption_does_not_help() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let mut live = Vec::new();
    for transport in BOTH {
        let who = world.enrolled().await;
        let config = who.tls();
        // Twice with one config, so that the second handshake is a resumption.
        for epoch in [7, 8] {
            let wire = Wire::connect(world.address, transport, config.clone()).await.unwrap();
            let previous = (epoch == 8).then_some(sysop_common::wire::PreviousEpoch {
                epoch: sysop_common::ids::Epoch(7),
                last_seq: sysop_common::ids::Seq(0),
                last_at: now(),
            });
            let agent = Agent::on(wire, hello(epoch, previous)).await.unwrap();
            if epoch == 8 {
                live.push((who.host, transport, config.clone(), agent));
            }
        }
    }
    // Only in the store, as another process would do it.
    for (host, ..) in &live {
        testing::revoke_host(&world.db, *host).await;
    }
    let revoked = std::time::Instant::now();
    for (_, transport, config, mut agent) in live {
        let why = agent.wire.next().await.unwrap_err();
        assert!(why.contains("revoked"), "{why}");
        assert!(revoked.elapsed() < Duration::from_secs(5));
        let again = match Wire::connect(world.address, transport, config).await {
            Ok(wire) => Agent::on(wire, hello(9, None)).await.map(drop),
            Err(why) => Err(why),
        };
        assert!(again.unwrap_err().contains("revoked"));
    }
    assert_eq!(world.registry.count(), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_here_is_out_at_once_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let mut live = Vec::new();
    for transport in BOTH {
        let who = world.enrolled().await;
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        agent.start_chain(7, &[tick(1, now()), tick(2, now())]).await.unwrap();
        agent.acked(7, 2).await.unwrap();
        assert!(world.store.latest(who.host).is_some());
        live.push((who.host, agent));
    }
    let removed = std::time::Instant::now();
    for (host, _) in &live {
        let mut tx = world.db.begin().await.unwrap();
        hosts::remove(&mut tx, *host, "tester", now()).await.unwrap();
        tx.commit().await.unwrap();
    }
    world.wakes.revoked.wake();
    for (host, mut agent) in live {
        let why = agent.wire.next().await.unwrap_err();
        assert!(why.contains("revoked"), "{why}");
        // The sweep alone would come within three seconds.
        assert!(removed.elapsed() < Duration::from_millis(1_500), "{:?}", removed.elapsed());
        // Its last samples go into parts first.
        while world.store.latest(host).is_some() {
            assert!(removed.elapsed() < Duration::from_secs(3), "it is still in memory");
            world.store.compact(now()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pre_auth_surface_is_one_bounded_request() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let config = || tls::enrolment(world.identity.ca_fingerprint()).unwrap();
    for transport in BOTH {
        // A session's messages mean nothing here.
        let mut wire = Wire::connect(world.address, transport, config()).await.unwrap();
        wire.send(&Upward::Hello(hello(7, None))).await.unwrap();
        assert!(matches!(wire.answer().await, Ok(EnrolAnswer::Refused(_))));
        // A request over the cap is refused by its head; one that lies about its kind, by its bytes.
        for (kind, declared) in [(kind::ENROL_REQUEST, 20_000usize), (kind::INVENTORY, 500_000)] {
            let mut wire = Wire::connect(world.address, transport, config()).await.unwrap();
            let mut bytes = Vec::new();
            put(&mut bytes, kind::INVENTORY, &vec![0; declared]).unwrap();
            let at = bytes.iter().position(|b| *b == kind::INVENTORY).unwrap();
            bytes[at] = kind;
            bytes.truncate(40_000);
            let sent = wire.send_bytes(&bytes).await;
            if sent.is_ok() {
                assert!(matches!(wire.answer().await, Ok(EnrolAnswer::Refused(_)) | Err(_)), "{kind}");
            }
        }
        // One request per connection, with one text for every bad token.
        let mut wire = Wire::connect(world.address, transport, config()).await.unwrap();
        let bad = wire.enrol(&Key::new().request("sysop_enroll_nothing".into())).await.unwrap();
        let EnrolAnswer::Refused(why) = bad else { panic!("enrolled") };
        assert!(why.contains("not valid"), "{why}");
        assert!(wire.enrol(&Key::new().request("again".into())).await.is_err());
        // The wrong CA's fingerprint: the agent's side ends it.
        let wrong = tls::enrolment(sysop_common::bytes::Digest([7; 32])).unwrap();
        assert!(Wire::connect(world.address, transport, wrong).await.is_err());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_decode_ends_the_session_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    for transport in BOTH {
        // What a newer agent may say is passed over.
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        let mut unknown = Vec::new();
        put(&mut unknown, 60, b"\x80").unwrap();
        agent.wire.send_bytes(&unknown).await.unwrap();
        agent.start_chain(7, &[super::world::tick(1, now())]).await.unwrap();
        agent.acked(7, 1).await.unwrap();
        let frame = |kind: u8, body: &[u8]| {
            let mut out = Vec::new();
            put(&mut out, kind, body).unwrap();
            out
        };
        for (what, bytes) in [
            ("a downward message", frame(kind::WELCOME, b"\x80")),
            ("a body that is not CBOR", frame(kind::GAP, b"\x9f")),
            ("samples over the cap", [&[0xff, 0xff, 0x07, kind::SAMPLES][..], &[0; 100]].concat()),
            ("a zero length", vec![0]),
            ("samples without a chain", frame(kind::SAMPLES, &[0xa2, 0, 0xf6, 1, 0x81, 0x41, 2])),
        ] {
            let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
            agent.wire.send_bytes(&bytes).await.unwrap();
            let why = agent.wire.next().await.unwrap_err();
            assert!(!why.contains("nothing came"), "{what} over {transport:?}: {why}");
        }
    }
    world.stop().await;
}
