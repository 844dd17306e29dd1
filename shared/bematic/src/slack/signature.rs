//! The verification of Slack's request signatures (version 0). Slack-morphism's verifier reads the
//! machine's clock, and takes a body that is already text.

use std::time::Duration;

use bematic_protocol::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The header with the time of the request, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "x-slack-request-timestamp";
/// The header with the signature.
pub const SIGNATURE_HEADER: &str = "x-slack-signature";
/// The largest difference between a request's time and now (Slack's advice against replays).
const MAX_AGE: Duration = Duration::from_mins(5);

/// Why a request's signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error("the request has no {0} header")]
    MissingHeader(&'static str),
    /// The time is not a number.
    #[error("the {TIMESTAMP_HEADER} header is not a number of seconds")]
    MalformedTimestamp,
    /// The time is too far from now: the request is a replay, or a clock is wrong.
    #[error("the request was signed {off_by_secs} s before or after now")]
    Stale {
        /// The seconds between the request's time and now.
        off_by_secs: u64,
    },
    /// The body, the time or the secret is not what was signed.
    #[error("the signature does not fit the request")]
    Mismatch,
}

impl SignatureError {
    /// Returns the stable code, for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingHeader(_) => "SLACK_SIGNATURE_MISSING",
            Self::MalformedTimestamp => "SLACK_TIMESTAMP_MALFORMED",
            Self::Stale { .. } => "SLACK_TIMESTAMP_STALE",
            Self::Mismatch => "SLACK_SIGNATURE_MISMATCH",
        }
    }
}

/// A signature of about now, of which it is not known yet whether it is Slack's.
#[derive(Debug)]
pub struct Signature<'a> {
    timestamp: &'a str,
    body: &'a [u8],
    digest: Vec<u8>,
}

impl<'a> Signature<'a> {
    /// Parses the signature of a request with this body. What fails here needs no secret.
    pub fn parse(
        timestamp: Option<&'a str>,
        signature: Option<&str>,
        body: &'a [u8],
        now: Timestamp,
    ) -> Result<Self, SignatureError> {
        let timestamp = timestamp.ok_or(SignatureError::MissingHeader(TIMESTAMP_HEADER))?;
        let signature = signature.ok_or(SignatureError::MissingHeader(SIGNATURE_HEADER))?;
        let at: u64 = timestamp
            .parse()
            .map_err(|_| SignatureError::MalformedTimestamp)?;
        let off_by_secs = now.as_secs().abs_diff(at);
        if off_by_secs > MAX_AGE.as_secs() {
            return Err(SignatureError::Stale { off_by_secs });
        }
        let digest = signature
            .strip_prefix("v0=")
            .and_then(|digits| hex::decode(digits).ok())
            .ok_or(SignatureError::Mismatch)?;
        Ok(Self {
            timestamp,
            body,
            digest,
        })
    }

    /// Verifies that whoever signed knows the secret.
    pub fn verify(&self, secret: &SecretString) -> Result<(), SignatureError> {
        mac(secret, self.timestamp, self.body)?
            .verify_slice(&self.digest)
            .map_err(|_| SignatureError::Mismatch)
    }
}

/// Returns the signature header of `body`, as Slack would send it. HMAC takes a secret of any length.
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> Result<String, SignatureError> {
    let digest = mac(secret, timestamp, body)?.finalize().into_bytes();
    Ok(format!("v0={}", hex::encode(digest)))
}

fn mac(
    secret: &SecretString,
    timestamp: &str,
    body: &[u8],
) -> Result<Hmac<Sha256>, SignatureError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map_err(|_| SignatureError::Mismatch)?;
    for part in [b"v0:", timestamp.as_bytes(), b":", body] {
        mac.update(part);
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Slack's documentation, "Verifying requests from Slack".
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
        &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
        &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands\
        %2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn check(secret: &str, body: &[u8], signature: &str, now: u64) -> Result<(), SignatureError> {
        let signature = Signature::parse(Some(TIMESTAMP), Some(signature), body, at(now))?;
        signature.verify(&SecretString::from(secret))
    }

    #[test]
    fn slacks_own_example_passes() {
        assert_eq!(check(SECRET, BODY, SIGNATURE, 1_531_420_618), Ok(()));
        assert_eq!(
            sign(&SecretString::from(SECRET), TIMESTAMP, BODY),
            Ok(SIGNATURE.to_owned())
        );
    }

    #[test]
    fn five_minutes_either_way_are_fresh_and_a_second_more_is_stale() {
        for now in [1_531_420_318, 1_531_420_918] {
            assert_eq!(check(SECRET, BODY, SIGNATURE, now), Ok(()));
        }
        for now in [1_531_420_317, 1_531_420_919] {
            assert_eq!(
                check(SECRET, BODY, SIGNATURE, now),
                Err(SignatureError::Stale { off_by_secs: 301 })
            );
        }
    }

    #[test]
    fn what_was_not_signed_does_not_pass() {
        let now = 1_531_420_618;
        let tampered = [BODY, b"&"].concat();
        let cases = [
            check(SECRET, &tampered, SIGNATURE, now),
            check("another", BODY, SIGNATURE, now),
            check("", BODY, SIGNATURE, now),
            check(SECRET, BODY, "", now),
            check(SECRET, BODY, "v0=", now),
            check(SECRET, BODY, "v0=zz", now),
            check(SECRET, BODY, &SIGNATURE.replace("v0=", "v1="), now),
            check(SECRET, BODY, &SIGNATURE[..SIGNATURE.len() - 2], now),
        ];
        for case in cases {
            assert_eq!(case, Err(SignatureError::Mismatch));
        }
    }

    #[test]
    fn headers_that_are_missing_or_malformed_are_named() {
        let check =
            |timestamp, signature| Signature::parse(timestamp, signature, BODY, at(0)).map(drop);
        assert_eq!(
            check(None, Some(SIGNATURE)),
            Err(SignatureError::MissingHeader(TIMESTAMP_HEADER))
        );
        assert_eq!(
            check(Some(TIMESTAMP), None),
            Err(SignatureError::MissingHeader(SIGNATURE_HEADER))
        );
        for timestamp in ["", "now", "-1", "1e9", "99999999999999999999"] {
            assert_eq!(
                check(Some(timestamp), Some(SIGNATURE)),
                Err(SignatureError::MalformedTimestamp)
            );
        }
    }

    #[test]
    fn a_body_need_not_be_text() {
        let secret = SecretString::from(SECRET);
        let body = [0xff, 0x00, 0xfe];
        let signature = sign(&secret, "100", &body).unwrap();
        let signature = Signature::parse(Some("100"), Some(&signature), &body, at(100));
        assert_eq!(signature.unwrap().verify(&secret), Ok(()));
    }
}
