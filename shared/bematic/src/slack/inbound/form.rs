//! Request bodies of the type `application/x-www-form-urlencoded`.

use std::{borrow::Cow, collections::HashMap, str::FromStr};

use bematic_protocol::ids::InvalidId;
use url::form_urlencoded;

use super::request::{Inbound, InboundError, SlashCommand};

pub(super) struct Form<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Form<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(body).collect())
    }

    pub(super) fn optional(&self, field: &'static str) -> Option<&str> {
        self.0.get(field).map(AsRef::as_ref)
    }

    pub(super) fn required(&self, field: &'static str) -> Result<&str, InboundError> {
        self.optional(field)
            .ok_or(InboundError::MissingField(field))
    }

    fn non_empty(&self, field: &'static str) -> Result<String, InboundError> {
        match self.required(field)? {
            "" => Err(InboundError::MissingField(field)),
            text => Ok(text.to_owned()),
        }
    }

    fn id<T: FromStr<Err = InvalidId>>(&self, field: &'static str) -> Result<T, InboundError> {
        self.required(field)?
            .parse()
            .map_err(|invalid: InvalidId| InboundError::InvalidField {
                field,
                reason: invalid.to_string(),
            })
    }
}

pub(super) fn command(body: &[u8]) -> Result<Inbound, InboundError> {
    let form = Form::parse(body);
    // Slack checks the endpoint's certificate now and then.
    if form.optional("ssl_check") == Some("1") {
        let kind = "ssl_check".to_owned();
        return Ok(Inbound::Ignored { kind });
    }
    Ok(Inbound::Command(SlashCommand {
        team_id: form.non_empty("team_id")?,
        channel_id: form.id("channel_id")?,
        user_id: form.id("user_id")?,
        command: form.non_empty("command")?,
        text: form.optional("text").unwrap_or_default().to_owned(),
        trigger_id: form.non_empty("trigger_id")?,
        response_url: form.optional("response_url").map(str::to_owned),
    }))
}
