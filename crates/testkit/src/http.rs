//! Ordinary requests, through ureq; one connection each.

use std::time::Duration;

use serde_json::Value;
use ureq::http;

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, decoded from its transfer coding.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("not JSON ({why}), status {}: {}", self.status, self.text()))
    }

    /// The first header of that name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All headers of that name.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// A request to be sent.
pub struct Request {
    builder: http::request::Builder,
    body: Option<Body>,
}

enum Body {
    Whole(Vec<u8>),
    Chunked(Vec<u8>),
}

impl Request {
    pub(crate) fn new(method: &str, url: &str, test: &str) -> Request {
        let builder = http::Request::builder()
            .method(method)
            .uri(url)
            .header("X-Test", test)
            .header("Connection", "close");
        Request { builder, body: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.builder = self.builder.header(name, value);
        self
    }

    /// With a body of known length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(Body::Whole(body.into()));
        self
    }

    /// With a body in chunked transfer coding.
    #[must_use]
    pub fn chunked(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(Body::Chunked(body.into()));
        self
    }

    /// Sends it and reads the answer; panics when that fails.
    pub fn send(self) -> Reply {
        self.try_send()
            .unwrap_or_else(|why| panic!("request failed: {why}"))
    }

    /// Sends it and reads the answer; an error also when the answer ends too early.
    pub fn try_send(self) -> Result<Reply, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .allow_non_standard_methods(true)
            .max_response_header_size(1 << 20)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let problem = |why: ureq::Error| why.to_string();
        let mut response = match self.body {
            None => agent.run(self.builder.body(()).map_err(|why| why.to_string())?),
            Some(Body::Whole(body)) => agent.run(self.builder.body(body).map_err(|why| why.to_string())?),
            Some(Body::Chunked(body)) => {
                let body = ureq::SendBody::from_owned_reader(std::io::Cursor::new(body));
                agent.run(self.builder.body(body).map_err(|why| why.to_string())?)
            }
        }
        .map_err(problem)?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let body = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec()
            .map_err(problem)?;
        Ok(Reply {
            status: response.status().as_u16(),
            headers,
            body,
        })
    }
}
