//! A service's answer.

use http::header::CONTENT_TYPE;

use crate::units::{Touch, Units};

/// A service's answer, and what is to be told of it.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) body: String,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) units: Units,
    pub(crate) touched: Vec<Touch>,
    pub(crate) message_ids: Vec<String>,
}

impl Reply {
    pub(crate) fn new(status: u16, error: Option<&str>, body: String) -> Self {
        let error = error.map(ToOwned::to_owned);
        Self {
            status,
            error,
            body,
            ..Self::default()
        }
    }

    pub(crate) fn header(self, name: &'static str, value: String) -> Self {
        Self {
            header: Some((name, value)),
            ..self
        }
    }

    pub(crate) fn response(self, content_type: &str) -> http::Response<Vec<u8>> {
        let response = http::Response::builder().status(self.status);
        let mut response = response.header(CONTENT_TYPE, content_type);
        if let Some((name, value)) = self.header {
            response = response.header(name, value);
        }
        let response = response.body(self.body.into_bytes());
        response.expect("status and headers are the fake's own")
    }
}
