//! The outputs of a CloudFormation stack, read by one signed HTTP request. The SDK's crate for
//! CloudFormation would be as large as the one for DynamoDB.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use url::form_urlencoded;

/// The version of the CloudFormation API.
const VERSION: &str = "2010-05-15";
const FORM: &str = "application/x-www-form-urlencoded";

/// The outputs of a stack, by name.
pub type Outputs = BTreeMap<String, String>;

/// Returns the outputs of the stack of this name, in the region and with the credentials of
/// `config`.
pub async fn outputs(config: &SdkConfig, stack: &str) -> Result<Outputs> {
    let region = config.region().context(
        "no AWS region: set AWS_REGION, or a region in the profile that AWS_PROFILE names",
    )?;
    let region = region.as_ref();
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "DescribeStacks")
        .append_pair("Version", VERSION)
        .append_pair("StackName", stack)
        .finish();
    let endpoint = match config.endpoint_url() {
        Some(url) => format!("{}/", url.trim_end_matches('/')),
        None if region.starts_with("cn-") => {
            format!("https://cloudformation.{region}.amazonaws.com.cn/")
        }
        None => format!("https://cloudformation.{region}.amazonaws.com/"),
    };
    let mut request = reqwest::Client::new()
        .post(&endpoint)
        .header("content-type", FORM);
    for (name, value) in signature(config, region, &endpoint, &body).await? {
        request = request.header(name, value);
    }
    let unreachable = || format!("CloudFormation cannot be reached at {endpoint}");
    let answer = request.body(body).send().await.with_context(unreachable)?;
    let failed = !answer.status().is_success();
    let xml = answer.text().await.with_context(unreachable)?;
    if failed {
        let message = first(&xml, "Message").unwrap_or_else(|| xml.trim().to_owned());
        bail!("the stack {stack} cannot be looked up in {region}: {message}");
    }
    Ok(read(&xml))
}

/// Returns the headers that sign a request.
async fn signature(
    config: &SdkConfig,
    region: &str,
    endpoint: &str,
    body: &str,
) -> Result<Vec<(String, String)>> {
    let no_credentials = "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                          AWS_SECRET_ACCESS_KEY";
    let provider = config.credentials_provider().context(no_credentials)?;
    let credentials = provider.provide_credentials().await;
    let identity = credentials.context(no_credentials)?.into();
    let time = config
        .time_source()
        .context("the clock is not configured")?;
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("cloudformation")
        .time(time.now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers = [("content-type", FORM)].into_iter();
    let body = SignableBody::Bytes(body.as_bytes());
    let signed = sign(
        SignableRequest::new("POST", endpoint, headers, body)?,
        &parameters,
    )?;
    let headers = signed.output().headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Parses the response to `DescribeStacks`: each output is a `<member>` with a key and a value.
fn read(xml: &str) -> Outputs {
    xml.split("<member>")
        .filter_map(|output| Some((first(output, "OutputKey")?, first(output, "OutputValue")?)))
        .collect()
}

/// Returns the text of the first element with this name.
fn first(xml: &str, name: &str) -> Option<String> {
    let (_, from) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = from.split_once(&format!("</{name}>"))?;
    Some(unescaped(text))
}

/// Resolves XML's character references, `&amp;` last, so that none is resolved twice.
fn unescaped(text: &str) -> String {
    let references = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
    ];
    let plain = references
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_in_any_order_and_without_references() {
        let xml = "<Stacks><member><StackName>s</StackName><Outputs>\
             <member><OutputKey>A</OutputKey><OutputValue>x?a=1&amp;b=&lt;2&gt;</OutputValue></member>\
             <member><OutputValue>y</OutputValue><Description>D</Description>\
             <OutputKey>B</OutputKey></member></Outputs></member></Stacks>";
        let found = [("A", "x?a=1&b=<2>"), ("B", "y")];
        let found = found.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(xml), Outputs::from(found));
    }
}
