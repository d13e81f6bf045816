//! Real servers on loopback, well and ill.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sysop_common::probe::{Method, Record, is_reserved};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Allows all but what is reserved, as a controller does by default.
struct Open;

impl Gate for Open {
    fn allows_name(&self, _: &str, _: Option<u16>) -> bool {
        true
    }

    fn allows_address(&self, _: Option<&str>, address: IpAddr, _: Option<u16>) -> bool {
        !is_reserved(address)
    }

    fn refusal(&self) -> Reason {
        Reason::TargetForbidden
    }
}

const SECOND: Duration = Duration::from_secs(5);

async fn asked(check: &Check) -> Outcome {
    ask(check, SECOND, &Open).await
}

fn http(url: String) -> Check {
    Check::Http {
        url,
        method: Method::Get,
        status_min: 200,
        status_max: 299,
        contains: None,
        redirects: 0,
        ca: None,
    }
}

/// Answers every connection with what `answer` makes of its head; tells its port and how many came.
async fn serve(answer: impl Fn(u16, &str) -> Vec<u8> + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    tokio::spawn(async move {
        let answer = Arc::new(answer);
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 2_048];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let bytes = answer(port, &String::from_utf8_lossy(&head[..length]));
                let _ = stream.write_all(&bytes).await;
            });
        }
    });
    (port, came)
}

#[tokio::test]
async fn a_port_is_up_while_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = Check::Tcp { host: "localhost".into(), port };
    let outcome = asked(&check).await;
    assert_eq!((outcome.reason, outcome.state().word()), (Reason::Answered, "up"));
    assert!(outcome.micros.is_some());
    drop(listener);
    let outcome = asked(&check).await;
    assert_eq!((outcome.reason, outcome.micros), (Reason::ConnectionRefused, None));
}

#[tokio::test]
async fn status_and_text_are_judged_and_every_odd_answer_ends() {
    let (port, _) = serve(|_, head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/ok" => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is we".to_vec(),
            "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5;x=y\r\n well\r\n0\r\n\r\n".to_vec(),
            "/badchunk" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
            "/error" => b"HTTP/1.1 503 Busy\r\n\r\n".to_vec(),
            "/huge" => [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 100_000]].concat(),
            "/endless" => [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 4 << 20]].concat(),
            "/none" => Vec::new(),
            _ => b"220 mail.example ESMTP\r\n".to_vec(),
        }
    })
    .await;
    let of = |path: &str, text: Option<&str>| {
        let Check::Http { url, method, status_min, status_max, redirects, ca, .. } =
            http(format!("http://127.0.0.1:{port}{path}"))
        else {
            unreachable!()
        };
        Check::Http { url, method, status_min, status_max, contains: text.map(str::to_owned), redirects, ca }
    };
    for (path, text, reason, number) in [
        ("/ok", None, Reason::Answered, 0),
        ("/ok", Some("is we"), Reason::Answered, 0),
        ("/ok", Some("is well"), Reason::TextMissing, 200),
        ("/chunked", Some("is well"), Reason::Answered, 0),
        ("/badchunk", Some("is well"), Reason::Malformed, 0),
        ("/error", None, Reason::Status, 503),
        ("/huge", None, Reason::Malformed, 0),
        ("/endless", Some("never there"), Reason::TextMissing, 200),
        ("/none", None, Reason::Closed, 0),
        ("/mail", None, Reason::Malformed, 0),
    ] {
        let outcome = asked(&of(path, text)).await;
        assert_eq!((outcome.reason, outcome.number), (reason, number), "{path} {text:?}");
    }
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(b"H").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
            if stream.write_all(b"TTP/1.1 200 OK\r\nX: ").await.is_err() {
                return;
            }
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        }
    });
    let started = Instant::now();
    let outcome = ask(&http(format!("http://127.0.0.1:{port}/")), Duration::from_millis(400), &Open).await;
    assert_eq!(outcome.reason, Reason::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn redirects_are_followed_to_the_same_host_only_and_not_for_ever() {
    let (other, came) = serve(|_, _| b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let (port, _) = serve(move |port, head| {
        let to = match head.split(' ').nth(1).unwrap_or_default() {
            "/once" => "/here".to_owned(),
            "/here" => return b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            "/loop" => "/loop".to_owned(),
            "/metadata" => "http://169.254.169.254/latest/".to_owned(),
            "/name" => format!("http://localhost:{other}/"),
            "/v6" => format!("http://[::1]:{port}/"),
            _ => "ftp://127.0.0.1/".to_owned(),
        };
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n").into_bytes()
    })
    .await;
    let of = |path: &str, redirects| Check::Http {
        url: format!("http://127.0.0.1:{port}{path}"),
        method: Method::Get,
        status_min: 200,
        status_max: 299,
        contains: None,
        redirects,
        ca: None,
    };
    assert_eq!(asked(&of("/once", 1)).await.reason, Reason::Answered);
    let unfollowed = asked(&of("/once", 0)).await;
    assert_eq!((unfollowed.reason, unfollowed.number), (Reason::Status, 302));
    assert_eq!(asked(&of("/loop", 3)).await.reason, Reason::TooManyRedirects);
    for path in ["/metadata", "/name", "/v6", "/odd"] {
        assert_eq!(asked(&of(path, 3)).await.reason, Reason::ForeignRedirect, "{path}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_gate_refuses_is_not_connected_to_however_it_is_written() {
    for host in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ] {
        let outcome = asked(&Check::Tcp { host: host.into(), port: 80 }).await;
        assert_eq!(outcome.reason, Reason::TargetForbidden, "{host}");
        let ping = Check::Ping { address: host.into(), count: 1 };
        assert_eq!(asked(&ping).await.reason, Reason::TargetForbidden, "{host}");
    }
    let resolver = Some("169.254.169.254".to_owned());
    let dns = Check::Dns { name: "a.example".into(), record: Record::A, resolver, expect: vec![] };
    assert_eq!(asked(&dns).await.reason, Reason::TargetForbidden);
    for odd in ["http://0x7f.1/", "http://2130706433/", "http://127.1/"] {
        assert_eq!(asked(&http(odd.into())).await.reason, Reason::NotTaken, "{odd}");
    }
}

/// A CA and a certificate of it for `name` that holds from `from` to `to` days from now.
fn certificate(name: &str, from: i64, to: i64) -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    let ca: CertifiedIssuer<'_, KeyPair> =
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    (ca.pem(), leaf(name, from, to, Some(&ca)))
}

fn leaf(name: &str, from: i64, to: i64, ca: Option<&Issuer<'_, KeyPair>>) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let at = |days: i64| {
        (std::time::SystemTime::now() + Duration::from_secs(366 * 86_400)
            - Duration::from_secs(u64::try_from(366 - days).unwrap() * 86_400))
        .into()
    };
    (params.not_before, params.not_after) = (at(from), at(to));
    let key = KeyPair::generate().unwrap();
    let certificate = match ca {
        Some(ca) => params.signed_by(&key, ca).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let config = ServerConfig::builder_with_provider(sysop_common::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        );
    Arc::new(config.unwrap())
}

async fn serve_tls(config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(config.clone());
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 1_024]).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn certificates_are_judged_by_trust_name_and_days_left() {
    let tls = |port, ca: &str, name: &str| Check::Tls {
        host: "127.0.0.1".into(),
        port,
        server_name: Some(name.into()),
        warn_days: 21,
        critical_days: 7,
        ca: (!ca.is_empty()).then(|| ca.to_owned()),
    };
    for (from, to, name, reason, days) in [
        (-1, 90, "a.example", Reason::Answered, 89),
        (-1, 15, "a.example", Reason::CertificateSoon, 14),
        (-1, 5, "a.example", Reason::CertificateVerySoon, 4),
        (-30, -2, "a.example", Reason::CertificateExpired, -3),
        (3, 90, "a.example", Reason::CertificateEarly, 89),
        (-1, 90, "b.example", Reason::CertificateName, 89),
    ] {
        let (ca, config) = certificate(name, from, to);
        let port = serve_tls(config).await;
        let outcome = asked(&tls(port, &ca, "a.example")).await;
        // Around midnight a day may begin between making and judging.
        let close = outcome.days.is_some_and(|left| (left - days).abs() <= 1);
        assert!(outcome.reason == reason && close, "{reason:?} {days}: {outcome:?}");
        let https = Check::Http {
            url: format!("https://127.0.0.1:{port}/"),
            method: Method::Head,
            status_min: 200,
            status_max: 200,
            contains: None,
            redirects: 0,
            ca: Some(ca.clone()),
        };
        // The certificate is no address's.
        assert!(!matches!(asked(&https).await.reason, Reason::Answered | Reason::Status));
    }
    let (other, _) = certificate("a.example", -1, 90);
    let port = serve_tls(leaf("a.example", -1, 90, None)).await;
    assert_eq!(asked(&tls(port, &other, "a.example")).await.reason, Reason::CertificateUntrusted);
    let (ca, config) = certificate("localhost", -1, 90);
    let port = serve_tls(config).await;
    let url = format!("https://localhost:{port}/");
    let Check::Http { method, status_min, status_max, contains, redirects, .. } = http(url.clone()) else {
        unreachable!()
    };
    let good = Check::Http { url, method, status_min, status_max, contains, redirects, ca: Some(ca) };
    assert_eq!(asked(&good).await.reason, Reason::Answered);
    let (plain, _) = serve(|_, _| b"hello\r\n".to_vec()).await;
    assert_eq!(asked(&tls(plain, &other, "a.example")).await.reason, Reason::TlsFailed);
}

/// A name server that answers each question after the last with the next of these addresses.
async fn name_server(answers: Vec<[u8; 4]>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let address = answers[number.min(answers.len() - 1)];
            let mut answer = bytes[..length].to_vec();
            (answer[2], answer[7]) = (0x81, 1);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend_from_slice(&address);
            let _ = socket.send_to(b"noise", from).await;
            let _ = socket.send_to(&answer, from).await;
        }
    });
    (at, asked)
}

#[tokio::test]
async fn dns_answers_are_compared_with_what_is_expected() {
    let (server, asks) = name_server(vec![[192, 0, 2, 7], [10, 0, 0, 1]]).await;
    let check = |record, expect: &[&str]| Check::Dns {
        name: "a.example".into(),
        record,
        resolver: Some(server.to_string()),
        expect: expect.iter().map(|text| (*text).to_owned()).collect(),
    };
    assert_eq!(asked(&check(Record::A, &["192.0.2.7"])).await.reason, Reason::Answered);
    // The server answers otherwise now: told, and nothing connects to it.
    let moved = asked(&check(Record::A, &["192.0.2.7"])).await;
    assert_eq!((moved.reason, moved.number), (Reason::WrongAnswer, 1));
    assert_eq!(asked(&check(Record::Aaaa, &[])).await.reason, Reason::NoRecord);
    assert_eq!(asks.load(Ordering::SeqCst), 3);
    let nobody = Check::Dns {
        name: "a.example".into(),
        record: Record::A,
        resolver: Some("127.0.0.1:1".into()),
        expect: vec![],
    };
    assert_eq!(asked(&nobody).await.reason, Reason::ConnectionRefused);
}

/// Counts what the gate is asked.
struct Counting(AtomicUsize, AtomicUsize);

impl Gate for Counting {
    fn allows_name(&self, _: &str, _: Option<u16>) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn allows_address(&self, _: Option<&str>, _: IpAddr, _: Option<u16>) -> bool {
        // The first look is well, any other would be of an address that changed.
        self.1.fetch_add(1, Ordering::SeqCst) == 0
    }

    fn refusal(&self) -> Reason {
        Reason::TargetForbidden
    }
}

#[tokio::test]
async fn an_address_is_judged_once_and_that_one_is_connected_to() {
    let (port, came) = serve(|_, _| Vec::new()).await;
    let gate = Counting(AtomicUsize::new(0), AtomicUsize::new(0));
    let outcome = ask(&Check::Tcp { host: "127.0.0.1".into(), port }, SECOND, &gate).await;
    assert_eq!(outcome.reason, Reason::Answered);
    assert_eq!((gate.1.load(Ordering::SeqCst), came.load(Ordering::SeqCst) <= 1), (1, true));
}

#[tokio::test]
async fn loopback_answers_a_ping_where_the_kernel_permits_one() {
    let outcome = asked(&Check::Ping { address: "127.0.0.1".into(), count: 2 }).await;
    match outcome.reason {
        Reason::Answered => assert!(outcome.micros.is_some() && outcome.number == 0),
        reason => assert_eq!((reason, outcome.state().word()), (Reason::PingNotPermitted, "unknown")),
    }
}
