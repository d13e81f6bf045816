//! Where requests go and how they prove who they are, as the client library asks for it.

use async_openai::config::Config;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use secrecy::SecretString;

use crate::config::{ApiKey, Endpoint, Model, ServerKind};

/// Address and key. It has no `Debug`, and the headers that carry the key are marked.
#[derive(Clone)]
pub(super) struct Wire {
    endpoint: Endpoint,
    key: Option<ApiKey>,
    secret: SecretString,
    /// Deployment and version, with Azure.
    azure: Option<(String, String)>,
}

impl Wire {
    pub(super) fn new(model: &Model, kind: Option<ServerKind>) -> Self {
        let is_azure = kind == Some(ServerKind::Azure);
        let shown = model.key.as_ref().map_or("", ApiKey::expose);
        Self {
            endpoint: model.endpoint.clone(),
            secret: SecretString::from(shown.to_owned()),
            key: model.key.clone(),
            azure: is_azure.then(|| (model.name.clone(), model.api_version.clone())),
        }
    }

    /// Address of the list of models.
    pub(super) fn models_url(&self) -> String {
        match &self.azure {
            // A deployment's own address is taken off: the list belongs to the resource.
            Some((_, version)) => format!("{}/openai/models?api-version={version}", self.resource()),
            None => format!("{}/models", self.endpoint.base()),
        }
    }

    /// The address before `/openai`, which people paste with more or less behind it.
    fn resource(&self) -> &str {
        let base = self.endpoint.base();
        base.find("/openai").and_then(|at| base.get(..at)).unwrap_or(base)
    }
}

impl Config for Wire {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(key) = &self.key else { return headers };
        let (name, text) = match &self.azure {
            Some(_) => (http::HeaderName::from_static("api-key"), key.expose().to_owned()),
            None => (AUTHORIZATION, format!("Bearer {}", key.expose())),
        };
        // A key is visible ASCII, which the settings see to.
        if let Ok(mut value) = HeaderValue::from_str(&text) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers
    }

    fn url(&self, path: &str) -> String {
        match &self.azure {
            Some((deployment, _)) => {
                let deployment: String = form_urlencoded::byte_serialize(deployment.as_bytes()).collect();
                format!("{}/openai/deployments/{deployment}{path}", self.resource())
            }
            None => format!("{}{path}", self.endpoint.base()),
        }
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.azure.as_ref().map(|(_, version)| ("api-version", version.as_str())).into_iter().collect()
    }

    fn api_base(&self) -> &str {
        self.endpoint.base()
    }

    fn api_key(&self) -> &SecretString {
        &self.secret
    }
}
