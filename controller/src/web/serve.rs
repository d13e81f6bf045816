//! The listener: plain HTTP and TLS on one port, told apart by the first byte.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::{Router, body::Body};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sysop_common::tls::provider;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::auth::throttle::network;
use super::limits::{CONNECTIONS, Counter, HEADER_BYTES, HEADER_TIME};
use super::peer::Peer;
use super::router;
use super::state::AppState;
use super::sweep;

/// Time for open requests to end when the controller stops.
const STOP_TIME: Duration = Duration::from_millis(400);
/// First byte of a TLS handshake record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves dashboard and API on `listener` until `stop` turns true. With `tls`, connections that begin
/// with a handshake are TLS.
///
/// # Errors
/// Never after the start; the listener's own errors are waited out.
pub async fn serve(
    state: AppState,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let sweeping = tokio::spawn(sweep::run(state.clone()));
    let proxies = state.server.trusted_proxies.clone();
    let app = router::router(state);
    let tls = tls.map(TlsAcceptor::from);
    let open = Arc::new(Semaphore::new(CONNECTIONS));
    let each = Counter::of_connections();
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let place = Arc::clone(&open).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            next = next => next?,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Mostly "too many open files": give others time to close theirs.
                tracing::warn!("a connection could not be accepted: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // One network cannot take all places; behind a listed proxy there are many.
        let own = match proxies.iter().any(|proxy| proxy.contains(address.ip().to_canonical())) {
            true => None,
            false => match each.take(&network(address.ip()).to_string()) {
                Ok(own) => Some(own),
                Err(_) => continue,
            },
        };
        let (app, tls, watcher, mut stop) = (app.clone(), tls.clone(), graceful.watcher(), stop.clone());
        tokio::spawn(async move {
            let _places = (place, own);
            if let Err(e) = connection(app, tls, stream, address, watcher, &mut stop).await {
                tracing::debug!(%address, "connection: {e}");
            }
        });
    }
    sweeping.abort();
    if tokio::time::timeout(STOP_TIME, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections were cut at stop");
    }
    Ok(())
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    app: Router,
    tls: Option<TlsAcceptor>,
    stream: TcpStream,
    address: SocketAddr,
    watcher: hyper_util::server::graceful::Watcher,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return http(app, stream, Peer { address, tls: false }, watcher).await };
    let opened = tokio::select! {
        opened = tokio::time::timeout(HEADER_TIME, open(tls, stream)) => opened??,
        // Whoever has not said a word yet does not hold up the stop.
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    match opened {
        Opened::Plain(stream) => http(app, stream, Peer { address, tls: false }, watcher).await,
        Opened::Tls(stream) => http(app, *stream, Peer { address, tls: true }, watcher).await,
    }
}

/// A connection whose first byte was seen.
enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

async fn open(tls: TlsAcceptor, stream: TcpStream) -> io::Result<Opened> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        return Ok(Opened::Tls(Box::new(tls.accept(stream).await?)));
    }
    Ok(Opened::Plain(stream))
}

async fn http<S>(
    app: Router,
    stream: S,
    peer: Peer,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let seen = asked.clone();
    let service = app.map_request(move |request: Request<hyper::body::Incoming>| {
        seen.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32)
        .max_concurrent_streams(64)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
    let connection = watcher.watch(connection);
    tokio::pin!(connection);
    // The version of HTTP is awaited without a limit of its own: nothing asked in time is the end.
    tokio::select! {
        done = &mut connection => return done,
        () = tokio::time::sleep(2 * HEADER_TIME) => {}
    }
    if asked.load(Ordering::Relaxed) { connection.await } else { Ok(()) }
}

/// Settings for the dashboard's TLS are not usable.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or not PEM.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit.
    #[error("the dashboard's certificate and key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
}

/// Settings of the dashboard's TLS from a certificate chain and its key. TLS 1.3 only.
///
/// # Errors
/// When they do not fit.
pub fn tls_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// As [`tls_config`], from PEM files.
///
/// # Errors
/// When a file cannot be read or they do not fit.
pub fn tls_from_files(
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<Arc<ServerConfig>, TlsError> {
    let error = |file: &std::path::Path, why| TlsError::File { file: file.display().to_string(), why };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| error(certificate, why))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|why| error(key, why))?;
    tls_config(chain, key)
}
