//! STS, of which it answers GetCallerIdentity: a request is a form, and a response XML.

use http::{Request, Response, header::CONTENT_TYPE};
use serde_json::Value;

use crate::common::{ServiceError, ServiceResult};

/// The ARN of the identity that every caller has.
pub const CALLER_ARN: &str = "arn:aws:iam::123456789012:user/fake";

const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// Returns the operation of a request to a service whose requests are forms: only STS's are.
pub(crate) fn operation(request: &Request<Vec<u8>>) -> Option<String> {
    let content_type = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let body = std::str::from_utf8(request.body()).ok()?;
    let is_form = content_type.starts_with(FORM_CONTENT_TYPE);
    let action = body.split('&').find_map(|it| it.strip_prefix("Action="));
    action.filter(|_| is_form).map(ToOwned::to_owned)
}

/// Answers GetCallerIdentity, with the ARN.
pub(crate) fn call(operation: &str) -> ServiceResult {
    if operation != "GetCallerIdentity" {
        return Err(ServiceError::new(400, "InvalidAction", operation));
    }
    Ok(Value::from(CALLER_ARN))
}

pub(crate) fn http_response(answer: ServiceResult) -> Response<Vec<u8>> {
    let response = Response::builder().header(CONTENT_TYPE, "text/xml");
    let (response, xml) = match answer {
        Ok(arn) => {
            let arn = arn.as_str().unwrap_or_default();
            let xml = format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult>\
                 </GetCallerIdentityResponse>"
            );
            (response, xml)
        }
        Err(ServiceError { status, code, body }) => {
            let message = body["message"].as_str().unwrap_or_default();
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>{message}</Message></Error></ErrorResponse>"
            );
            (response.status(status), xml)
        }
    };
    let response = response.body(xml.into_bytes());
    response.expect("status and headers are the fake's own")
}
