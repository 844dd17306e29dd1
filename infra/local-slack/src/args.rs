//! The arguments of a Web API call, which are sent as JSON or as a form.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::error::{Code, Refusal};
use crate::ts::Ts;

/// Arguments by name.
#[derive(Debug, Default)]
pub(crate) struct Args(Map<String, Value>);

impl From<Map<String, Value>> for Args {
    fn from(object: Map<String, Value>) -> Self {
        Self(object)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Args {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, text)| (name.into(), text.into()))
                .collect(),
        )
    }
}

impl Args {
    /// Parses the query and the body. In a form every argument is a text, and objects are JSON in
    /// a text.
    pub(crate) fn read(headers: &HeaderMap, query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("");
        let mut args = form(query.as_bytes());
        if kind.starts_with("application/json") && !body.is_empty() {
            match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => args.extend(object),
                _ => return Err(Code::InvalidJson.into()),
            }
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            args.extend(form(body));
        } else if !body.is_empty() {
            return Err(Code::InvalidFormData.into());
        }
        Ok(Self(args))
    }

    /// Returns a text, unless it is absent, null or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Returns a text that is required.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text == "true" || text == "1",
            _ => false,
        }
    }

    /// Returns a count, or the default if it is absent; `None` if it is not a count.
    pub(crate) fn count(&self, name: &str, default: usize) -> Option<usize> {
        match self.0.get(name) {
            None | Some(Value::Null) => Some(default),
            Some(Value::Number(number)) => number.as_u64()?.try_into().ok(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        }
    }

    /// Returns an object or array, given as such or as JSON in a text. Text that is not JSON is
    /// refused with `code`.
    pub(crate) fn json(&self, name: &str, code: Code) -> Result<Option<Value>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text)
                .map(Some)
                .map_err(|_| code.into()),
            Some(value) => Ok(Some(value.clone())),
        }
    }

    /// Returns the `ts` of a message. Text that is not a `ts` is refused with `code`.
    pub(crate) fn ts(&self, name: &str, code: Code) -> Result<Option<Ts>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| code.into())
    }

    /// Returns a bound (`oldest` or `latest`) of a page of history.
    pub(crate) fn bound(&self, name: &str, code: Code) -> Result<Option<Ts>, Refusal> {
        let text = match self.0.get(name) {
            Some(Value::Number(number)) => number.to_string(),
            _ => match self.text(name) {
                Some(text) => text.to_owned(),
                None => return Ok(None),
            },
        };
        Ts::bound(&text).map(Some).map_err(|_| code.into())
    }
}

fn form(encoded: &[u8]) -> Map<String, Value> {
    form_urlencoded::parse(encoded)
        .map(|(name, text)| (name.into(), text.into()))
        .collect()
}
