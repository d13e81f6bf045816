//! The model that may advise: which server, with which key, how much it may cost.

mod change;
mod parse;

use std::fmt;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;
use parse::{
    currency, endpoint, language, model_name, money, prices, seconds_or_duration, server, version, whole,
};

pub use change::CHANGEABLE;
pub use parse::is_private;

/// `[model]`.
#[derive(Debug, Clone)]
pub struct Model {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// What kind of server it is; found out by probing when not set.
    pub server: Option<ServerKind>,
    /// What the server wants to see.
    pub key: Option<ApiKey>,
    /// The model's name, as the server knows it; with Azure the deployment's.
    pub name: String,
    /// `api-version` of Azure.
    pub api_version: String,
    /// PEM file with further certificate authorities for this server alone.
    pub ca_file: Option<PathBuf>,
    /// Language of what people read, a BCP-47 tag.
    pub language: String,
    /// Time between two periodic looks, in ms.
    pub interval_ms: i64,
    /// How much it may take.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// What tokens cost, by model.
    pub prices: Vec<Price>,
    /// The currency of prices and of the daily limit, a code such as `USD`.
    pub currency: String,
    /// Whether a base URL was given.
    pub named: bool,
}

/// A server's address: HTTPS, or HTTP to this machine or a private network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Base of the API, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether it is spoken to without TLS; its addresses must be private then.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Name or address of the host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port that is dialled.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        endpoint(text)
    }
}

/// Kinds of servers that speak the chat protocol, each with its own habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerKind {
    /// OpenAI's own.
    OpenAi,
    /// Azure OpenAI: a deployment in the path, the key in a header of its own.
    Azure,
    /// Ollama.
    Ollama,
    /// vLLM.
    Vllm,
    /// llama.cpp's server.
    LlamaCpp,
    /// Anything else.
    Generic,
}

impl ServerKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::OpenAi, Self::Azure, Self::Ollama, Self::Vllm, Self::LlamaCpp, Self::Generic];

    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llamacpp",
            Self::Generic => "generic",
        }
    }
}

/// A key. It is not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// The key.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ApiKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let fits = !text.is_empty() && text.len() <= 4_096 && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err("must be one word of visible ASCII characters".to_owned())
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// How much the model may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in a day (UTC), all kinds together; beyond it nothing is sent.
    pub daily_tokens: u64,
    /// Money in a day (UTC), in millionths of the currency.
    pub daily_cost_micro: u64,
    /// Requests in a minute.
    pub requests_per_minute: u32,
    /// Tokens in a minute.
    pub tokens_per_minute: u32,
    /// Requests at the same time.
    pub concurrency: u32,
}

/// How long things may take, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect_ms: i64,
    /// Between two pieces of an answer.
    pub read_ms: i64,
    /// A first opinion, repeats included.
    pub triage_ms: i64,
    /// A turn of a deep dive, repeats included.
    pub deep_ms: i64,
}

/// What a million tokens of a model cost, in millionths of the currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The model's name; `*` is any other.
    pub model: String,
    /// Tokens of the request.
    pub prompt_micro: u64,
    /// Tokens of the request that the server had in its cache.
    pub cached_micro: u64,
    /// Tokens of the answer, thinking included.
    pub completion_micro: u64,
}

const API_KEY: Key = Key::new("model.api_key", &["SYSOP_MODEL_API_KEY", "OPENAI_API_KEY"]);
const API_KEY_FILE: Key =
    Key::new("model.api_key_file", &["SYSOP_MODEL_API_KEY_FILE", "OPENAI_API_KEY_FILE"]);
const BASE_URL: Key = Key::new("model.base_url", &["SYSOP_MODEL_BASE_URL", "OPENAI_BASE_URL"]);
const NAME: Key = Key::new("model.name", &["SYSOP_MODEL_NAME", "OPENAI_MODEL"]);
const LANGUAGE: Key = Key::new("model.language", &["SYSOP_MODEL_LANGUAGE", "OPENAI_LANGUAGE"]);
const INTERVAL: Key = Key::new("model.interval", &["SYSOP_MODEL_INTERVAL", "APP_MODEL_DELAY"]);
const SERVER: Key = Key::new("model.server", &["SYSOP_MODEL_SERVER"]);
const API_VERSION: Key = Key::new("model.api_version", &["SYSOP_MODEL_API_VERSION"]);
const CA_FILE: Key = Key::new("model.ca_file", &["SYSOP_MODEL_CA_FILE"]);
const DAILY_TOKENS: Key = Key::new("model.daily_tokens", &["SYSOP_MODEL_DAILY_TOKENS"]);
const DAILY_COST: Key = Key::new("model.daily_cost", &["SYSOP_MODEL_DAILY_COST"]);
const CURRENCY: Key = Key::new("model.currency", &["SYSOP_MODEL_CURRENCY"]);
const PRICES: Key = Key::new("model.prices", &["SYSOP_MODEL_PRICES"]);
const REQUESTS: Key = Key::new("model.requests_per_minute", &["SYSOP_MODEL_REQUESTS_PER_MINUTE"]);
const TOKENS: Key = Key::new("model.tokens_per_minute", &["SYSOP_MODEL_TOKENS_PER_MINUTE"]);
const CONCURRENCY: Key = Key::new("model.concurrency", &["SYSOP_MODEL_CONCURRENCY"]);
const CONNECT: Key = Key::new("model.connect_timeout", &["SYSOP_MODEL_CONNECT_TIMEOUT"]);
const READ: Key = Key::new("model.read_timeout", &["SYSOP_MODEL_READ_TIMEOUT"]);
const DEADLINE: Key = Key::new("model.deadline", &["SYSOP_MODEL_DEADLINE"]);
const DEEP_DEADLINE: Key = Key::new("model.deep_deadline", &["SYSOP_MODEL_DEEP_DEADLINE"]);

/// What version 1 spoke to when nothing else was said.
const OPENAI: &str = "https://api.openai.com/v1";

impl Model {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        let base = sources.read(BASE_URL, endpoint)?;
        let named = base.is_some();
        let endpoint = match base {
            Some(endpoint) => endpoint,
            None => endpoint(OPENAI).map_err(|must| ConfigError::new(BASE_URL.name.to_owned(), must))?,
        };
        Ok(Self {
            endpoint,
            named,
            server: sources.read(SERVER, server)?.flatten(),
            key: key(sources)?,
            name: sources.read(NAME, model_name)?.unwrap_or_else(|| "gpt-4o".to_owned()),
            api_version: sources.read(API_VERSION, version)?.unwrap_or_else(|| "2024-10-21".to_owned()),
            ca_file: sources.read(CA_FILE, |text| Ok(PathBuf::from(text)))?,
            language: sources.read(LANGUAGE, language)?.unwrap_or_else(|| "en".to_owned()),
            interval_ms: sources.read(INTERVAL, seconds_or_duration)?.unwrap_or(300_000),
            limits: Limits {
                daily_tokens: sources.read(DAILY_TOKENS, whole(0, u64::MAX))?.unwrap_or(1_000_000),
                daily_cost_micro: sources.read(DAILY_COST, money)?.unwrap_or(1_000_000),
                requests_per_minute: sources.read(REQUESTS, whole(1, 100_000))?.unwrap_or(60),
                tokens_per_minute: sources.read(TOKENS, whole(1_000, 1_000_000_000))?.unwrap_or(200_000),
                concurrency: sources.read(CONCURRENCY, whole(1, 64))?.unwrap_or(2),
            },
            timeouts: Timeouts {
                connect_ms: sources.read(CONNECT, duration("1s", "60s"))?.unwrap_or(5_000),
                read_ms: sources.read(READ, duration("1s", "10min"))?.unwrap_or(30_000),
                triage_ms: sources.read(DEADLINE, duration("5s", "10min"))?.unwrap_or(45_000),
                deep_ms: sources.read(DEEP_DEADLINE, duration("5s", "30min"))?.unwrap_or(120_000),
            },
            prices: sources.read(PRICES, prices)?.unwrap_or_default(),
            currency: sources.read(CURRENCY, currency)?.unwrap_or_else(|| "USD".to_owned()),
        })
    }

    /// Whether there is a model to ask. Without a base URL it is OpenAI's, which needs a key; a server
    /// that was named may do without one.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.key.is_some() || (self.named && !self.needs_key())
    }

    /// Whether the server turns everybody away who has no key.
    fn needs_key(&self) -> bool {
        let host = self.endpoint.host();
        matches!(self.server, Some(ServerKind::OpenAi | ServerKind::Azure))
            || host == "api.openai.com"
            || host.ends_with(".openai.azure.com")
    }

    /// The price of `model`: its own, else that of `*`.
    #[must_use]
    pub fn price(&self, model: &str) -> Option<&Price> {
        let of = |name: &str| self.prices.iter().find(|price| price.model == name);
        of(model).or_else(|| of("*"))
    }

    /// What a person should know about these settings.
    pub(super) fn note(&self) -> Option<String> {
        (self.named && !self.enabled()).then(|| {
            "model.base_url is set without model.api_key (OPENAI_API_KEY), which this server wants: \
             analysis goes by rules alone"
                .to_owned()
        })
    }
}

/// The key itself, or the one that stands in a file.
fn key(sources: &mut Sources) -> Result<Option<ApiKey>, ConfigError> {
    let given = sources.read_secret(API_KEY, str::parse::<ApiKey>)?;
    let from_file = sources.read_secret(API_KEY_FILE, |path| {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|e| format!("names {path}, which cannot be read: {e}"))?;
        text.parse::<ApiKey>().map_err(|must| format!("names {path}; what is in it {must}"))
    })?;
    if given.is_some() && from_file.is_some() {
        let problem = "and model.api_key_file are both set: keep one".to_owned();
        return Err(ConfigError::new(API_KEY.name.to_owned(), problem));
    }
    Ok(given.or(from_file))
}
