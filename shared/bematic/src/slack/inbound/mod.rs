//! The requests from Slack, parsed into one owned value. Fields that Bematic does not use are
//! ignored, so that Slack can add more of them.

mod event;
mod form;
mod interaction;
mod request;

pub use self::request::{Action, Endpoint, Inbound, InboundError, Mention, SlashCommand};

/// Parses a request's body. The signature has to be verified first.
///
/// # Errors
/// [`InboundError`] if the body is not what Slack sends to `endpoint`.
pub fn parse(endpoint: Endpoint, body: &[u8]) -> Result<Inbound, InboundError> {
    match endpoint {
        Endpoint::Commands => form::command(body),
        Endpoint::Events => event::parse(body),
        Endpoint::Interactions => interaction::parse(body),
    }
}

#[cfg(test)]
mod tests;
