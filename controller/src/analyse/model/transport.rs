//! One exchange with the server. The client library makes the request; what comes back passes through
//! here first: caps, statuses and odd forms are dealt with before anything is parsed or logged.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{ApiKey, Model, ServerKind, is_private};

use super::body;
use super::bucket::Buckets;
use super::error::{AskError, Phase};
use super::fault::{Again, Fault};
use super::pace::Pace;
use super::retry::retry_after;
use super::wire::Wire;
use super::{SetUpError, reply};

/// The way to the server.
pub(super) struct Transport {
    client: async_openai::Client<Wire>,
    wire: Wire,
    exchange: Exchange,
}

/// What one exchange needs; the innermost service of the client library.
#[derive(Clone)]
struct Exchange(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    pace: Pace,
    clock: Clock,
    key: Option<ApiKey>,
    buckets: Arc<Mutex<Buckets>>,
    /// The head of an answer may take until the deadline.
    patient: AtomicBool,
}

impl Transport {
    pub(super) fn new(
        model: &Model,
        kind: Option<ServerKind>,
        pace: Pace,
        clock: Clock,
        buckets: Arc<Mutex<Buckets>>,
    ) -> Result<Self, SetUpError> {
        let http = http_client(model, &pace)?;
        let wire = Wire::new(model, kind);
        let inner =
            Inner { http, pace, clock, key: model.key.clone(), buckets, patient: AtomicBool::new(false) };
        let exchange = Exchange(Arc::new(inner));
        // The library's own repeats, without jitter and without a limit on the pause, go away with its service.
        let client = async_openai::Client::build(exchange.0.http.clone(), wire.clone())
            .with_http_service(exchange.clone());
        Ok(Self { client, wire, exchange })
    }

    /// Whether the head of an answer may take until the deadline.
    pub(super) fn set_patient(&self, patient: bool) {
        self.exchange.0.patient.store(patient, Ordering::Relaxed);
    }

    /// One completion.
    pub(super) async fn chat(&self, body: &Value) -> Result<Value, Fault> {
        self.client.chat().create_byot::<&Value, Value>(body).await.map_err(fault)
    }

    /// The list of models.
    pub(super) async fn models(&self) -> Result<Value, Fault> {
        use async_openai::config::Config as _;
        let request = self.exchange.0.http.get(self.wire.models_url()).headers(self.wire.headers());
        let request = request.build().map_err(Fault::unsent)?;
        let bytes = self.exchange.run(request).await?;
        serde_json::from_slice(&bytes).map_err(|_| Fault::malformed("the list of models is not JSON"))
    }
}

/// No redirects, no proxies: the key goes to the server that was named and to no other.
fn http_client(model: &Model, pace: &Pace) -> Result<reqwest::Client, SetUpError> {
    sysop_common::tls::install();
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(pace.connect())
        .user_agent(concat!("sysop-controller/", env!("CARGO_PKG_VERSION")));
    if model.endpoint.is_plain() {
        // Nothing is asked of the system's certificates where none is used.
        builder = builder.dns_resolver(PrivateOnly).tls_certs_only([]);
    } else {
        builder = builder.https_only(true);
        if let Some(path) = &model.ca_file {
            let pem = std::fs::read(path)
                .map_err(|e| SetUpError(format!("model.ca_file {}: cannot be read: {e}", path.display())))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| SetUpError(format!("model.ca_file {}: not PEM", path.display())))?;
            builder = builder.tls_certs_merge(certificates);
        }
    }
    builder.build().map_err(|e| {
        let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        SetUpError(format!("HTTPS cannot be set up ({cause}): install the system's CA certificates"))
    })
}

/// Resolves names to addresses of private networks alone.
pub(super) struct PrivateOnly;

impl Resolve for PrivateOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let private: Vec<SocketAddr> = all.filter(|address| is_private(address.ip())).collect();
            if private.is_empty() {
                return Err(
                    "the name has no private address, and over plain HTTP no other is spoken to".into()
                );
            }
            Ok(Box::new(private.into_iter()) as Addrs)
        })
    }
}

impl Exchange {
    async fn run(&self, request: reqwest::Request) -> Result<Vec<u8>, Fault> {
        let pace = &self.0.pace;
        let answer = self.0.http.execute(request);
        let answer = if self.0.patient.load(Ordering::Relaxed) {
            answer.await
        } else {
            tokio::time::timeout(pace.read(), answer)
                .await
                .map_err(|_| Fault::new(AskError::Timeout { phase: Phase::Answer }, Again::Once))?
        };
        let response = answer.map_err(Fault::unsent)?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.note(&headers);
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry_after(pace, text, self.0.clock.now().0));
        let said = |name| headers.get(&name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bytes = body::read(response, pace.read()).await;
        if !status.is_success() {
            // A status counts even when its body broke off.
            let bytes = bytes.unwrap_or_default();
            let hide = self.0.key.as_ref().map_or("", ApiKey::expose);
            return Err(Fault::status(status.as_u16(), &bytes, after, hide));
        }
        let bytes = bytes?;
        if !matches!(said(CONTENT_ENCODING), "" | "identity") {
            return Err(Fault::malformed("a compressed answer that was not asked for"));
        }
        Ok(if said(CONTENT_TYPE).starts_with("text/event-stream") {
            let value = reply::from_events(&bytes).ok_or(Fault::malformed("events that are not JSON"))?;
            value.to_string().into_bytes()
        } else {
            bytes
        })
    }

    /// One exchange of the chat protocol: what comes out is JSON.
    async fn chat(self, factory: HttpRequestFactory) -> Result<reqwest::Response, Fault> {
        let request = factory.build().await.map_err(fault)?;
        let bytes = self.run(request).await?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|_| Fault::malformed("the answer is not JSON"))?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null())
            && value.get("choices").is_none()
        {
            // Some gateways answer 200 and put the status inside.
            let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            let hide = self.0.key.as_ref().map_or("", ApiKey::expose);
            return Err(Fault::status(code.filter(|code| *code >= 400).unwrap_or(500), bytes, None, hide));
        }
        Ok(http::Response::new(bytes.to_vec()).into())
    }

    fn note(&self, headers: &HeaderMap) {
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.feed(&self.0.pace, headers, Instant::now());
    }
}

impl tower_service::Service<HttpRequestFactory> for Exchange {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let exchange = self.clone();
        Box::pin(
            async move { exchange.chat(factory).await.map_err(|fault| OpenAIError::Boxed(Box::new(fault))) },
        )
    }
}

/// Our own errors come back as they went in; what the library adds are errors of its own making.
fn fault(error: OpenAIError) -> Fault {
    match error {
        OpenAIError::Boxed(inner) => inner
            .downcast::<Fault>()
            .map_or_else(|_| Fault::malformed("an error without a name"), |fault| *fault),
        OpenAIError::Reqwest(error) => Fault::unsent(error),
        _ => Fault::malformed("the answer is not of the chat protocol"),
    }
}
