//! The arguments of a Web API call, which are sent as JSON or as a form.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::error::{Code, Refusal};
use crate::ts::Ts;

/// Arguments by name: a JSON object.
#[derive(Debug)]
pub(crate) struct CallArguments(pub(crate) Value);

impl CallArguments {
    /// Parses the query and the body. In a form every argument is a text, and objects are JSON in
    /// a text.
    pub(crate) fn read(headers: &HeaderMap, query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let mut args = decode_form(query.as_bytes());
        if kind.starts_with("application/json") && !body.is_empty() {
            match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => args.extend(object),
                _ => return Err("invalid_json".into()),
            }
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            args.extend(decode_form(body));
        } else if !body.is_empty() {
            return Err("invalid_form_data".into());
        }
        Ok(Self(args.into()))
    }

    /// Returns a text, unless it is absent, null or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str().filter(|text| !text.is_empty())
    }

    /// Returns a text that is required.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.0[name].as_str(), Some("true" | "1")) || self.0[name] == true
    }

    /// Returns a count, or the default if it is absent; `None` if it is not a count.
    pub(crate) fn count(&self, name: &str, default: usize) -> Option<usize> {
        match &self.0[name] {
            Value::Null => Some(default),
            Value::String(text) => text.parse().ok(),
            number => number.as_u64()?.try_into().ok(),
        }
    }

    /// Returns an object or array, given as such or as JSON in a text. Text that is not JSON is
    /// refused with `code`.
    pub(crate) fn json(&self, name: &str, code: Code) -> Result<Option<Value>, Refusal> {
        match &self.0[name] {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) => Ok(Some(serde_json::from_str(text).map_err(|_| code)?)),
            value => Ok(Some(value.clone())),
        }
    }

    /// Returns the thread to post in.
    pub(crate) fn thread(&self) -> Result<Option<Ts>, Refusal> {
        let ts = self.text("thread_ts").map(str::parse).transpose();
        ts.map_err(|_| "thread_not_found".into())
    }

    /// Returns the `ts` of a message, which is required.
    pub(crate) fn message_ts(&self, code: Code) -> Result<Ts, Refusal> {
        self.required("ts")?.parse().map_err(|_| code.into())
    }

    /// Returns a bound (`oldest` or `latest`) of a page of history.
    pub(crate) fn ts_bound(&self, name: &str, code: Code) -> Result<Option<Ts>, Refusal> {
        let number = self.0[name].as_number().map(ToString::to_string);
        let bound = number.as_deref().or(self.text(name)).map(Ts::parse_bound);
        bound.transpose().map_err(|_| code.into())
    }
}

fn decode_form(encoded: &[u8]) -> Map<String, Value> {
    form_urlencoded::parse(encoded)
        .map(|(name, text)| (name.into(), text.into()))
        .collect()
}
