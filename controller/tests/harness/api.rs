//! A small client of the API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A request that takes longer is an error.
const LIMIT: Duration = Duration::from_secs(10);

/// What answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// What it wants remembered: `name=value` of each cookie.
    pub cookies: Vec<String>,
}

/// One who asks the controller, with a token or without.
#[derive(Debug, Clone)]
pub struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

impl Api {
    /// Asks at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>, token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .max_redirects(0)
            // A connection that is kept would fail once after each restart of the controller.
            .max_idle_connections(0)
            .build();
        Self { agent: config.into(), base: base.into(), token }
    }

    /// The JSON at `path`.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.json("GET", path, None)
    }

    /// Sends JSON; the JSON that comes back, or null.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.json("POST", path, Some(body))
    }

    /// The entries of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let found = self.get(path)?;
        let items = found.get("items").unwrap_or(&found).as_array();
        items.cloned().with_context(|| format!("GET {path} gave no list: {found}"))
    }

    /// The text at `path`.
    pub fn text(&self, path: &str) -> Result<String> {
        let answer = self.ask("GET", path, &[], Vec::new())?;
        if answer.status != 200 {
            bail!("GET {path}: {} {}", answer.status, answer.text);
        }
        Ok(answer.text)
    }

    /// Asks and takes any answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body)?).with_context(|| format!("{method} {path}"))?;
        let set = response.headers().get_all("set-cookie");
        let cookie =
            |value: &ureq::http::HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
        Ok(Answer {
            status: response.status().as_u16(),
            cookies: set.iter().filter_map(cookie).collect(),
            text: response.body_mut().read_to_string()?,
        })
    }

    fn json(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let headers = [("content-type", "application/json")];
        let headers = if body.is_some() { &headers[..] } else { &[] };
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let answer = self.ask(method, path, headers, bytes)?;
        if !(200..300).contains(&answer.status) {
            bail!("{method} {path}: {} {}", answer.status, answer.text);
        }
        if answer.text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&answer.text).with_context(|| format!("{method} {path} gave no JSON"))
    }
}

/// The text of a field; empty when there is none.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number in a field.
pub fn number(value: &Value, field: &str) -> Result<i64> {
    value.get(field).and_then(Value::as_i64).with_context(|| format!("no number {field} in {value}"))
}
