//! The listener over real sockets of the loopback: plain, TLS on the same port, caps, a clean stop.

use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::super::serve;
use super::*;

struct Listening {
    address: SocketAddr,
    served: JoinHandle<std::io::Result<()>>,
    connector: TlsConnector,
}

async fn listen(web: &Web) -> Listening {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = CertificateDer::from(certificate.der().to_vec());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let tls = serve::tls_config(vec![der.clone()], key.into()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der).unwrap();
    let mut client = ClientConfig::builder_with_provider(sysop_common::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(serve::serve(web.state.clone(), listener, Some(tls), web.stop.subscribe()));
    Listening { address, served, connector: TlsConnector::from(Arc::new(client)) }
}

/// Sends `request` and reads until the answer's end, or for two seconds.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let mut answer = Vec::new();
    let talk = async {
        // The other side may close before everything is sent: it has seen enough.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    let _ = timeout(Duration::from_secs(2), talk).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn plain_and_tls_share_the_port_and_only_tls_is_strict() {
    let web = Web::new().await;
    let listening = listen(&web).await;
    let plain = TcpStream::connect(listening.address).await.unwrap();
    let answer = exchange(plain, &request("/api/health", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"store\""), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(listening.address).await.unwrap();
    let tls = listening.connector.connect(name, tcp).await.unwrap();
    let answer = exchange(tls, &request("/login", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
}

#[tokio::test]
async fn headers_over_their_cap_and_noise_are_turned_away() {
    let web = Web::new().await;
    let listening = listen(&web).await;
    let long = format!("x-long: {}\r\n", "a".repeat(20_000));
    for noise in
        [request("/api/health", &long), "\u{1}\u{2}nonsense\r\n\r\n".to_owned(), "GET\r\n\r\n".to_owned()]
    {
        let stream = TcpStream::connect(listening.address).await.unwrap();
        let answer = exchange(stream, &noise).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let stream = TcpStream::connect(listening.address).await.unwrap();
    assert!(exchange(stream, &request("/api/health", "")).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_ends_open_streams_and_idle_connections_in_time() {
    let web = Web::new().await;
    let session = web.session("viewer").await;
    let listening = listen(&web).await;
    let idle = TcpStream::connect(listening.address).await.unwrap();
    let mut live = TcpStream::connect(listening.address).await.unwrap();
    let cookie = format!("cookie: {}\r\n", session.cookie);
    live.write_all(request("/events", &cookie).as_bytes()).await.unwrap();
    let mut start = [0; 15];
    live.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    let began = Instant::now();
    web.stop.send(true).unwrap();
    timeout(Duration::from_secs(2), listening.served).await.unwrap().unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    drop(idle);
}
