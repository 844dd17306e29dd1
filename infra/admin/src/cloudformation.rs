//! The outputs of a CloudFormation stack, read by one signed HTTP request. The SDK's crate for
//! CloudFormation would be as large as the one for DynamoDB.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use http::Request;
use url::form_urlencoded;

use crate::signed::{region, sign_request};

/// The version of the CloudFormation API.
const API_VERSION: &str = "2010-05-15";
const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// The outputs of a stack, by name.
pub type Outputs = BTreeMap<String, String>;

/// Returns the outputs of the stack of this name, in the region and with the credentials of
/// `config`.
pub async fn fetch_outputs(config: &SdkConfig, stack: &str) -> Result<Outputs> {
    let region = region(config)?;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "DescribeStacks")
        .append_pair("Version", API_VERSION)
        .append_pair("StackName", stack)
        .finish();
    let endpoint = match config.endpoint_url() {
        Some(url) => format!("{}/", url.trim_end_matches('/')),
        None if region.starts_with("cn-") => {
            format!("https://cloudformation.{region}.amazonaws.com.cn/")
        }
        None => format!("https://cloudformation.{region}.amazonaws.com/"),
    };
    let mut request = Request::post(&endpoint)
        .header("content-type", FORM_CONTENT_TYPE)
        .body(body)?;
    sign_request(config, "cloudformation", &mut request).await?;
    // Without the address, which may have a password.
    let unreachable = || format!("CloudFormation cannot be reached in {region}");
    let answer = reqwest::Client::new().execute(request.try_into()?).await;
    let answer = answer
        .map_err(reqwest::Error::without_url)
        .with_context(unreachable)?;
    let failed = !answer.status().is_success();
    let xml = answer.text().await;
    let xml = xml
        .map_err(reqwest::Error::without_url)
        .with_context(unreachable)?;
    if failed {
        let message = first_element_text(&xml, "Message").unwrap_or_else(|| xml.trim().to_owned());
        bail!("the stack {stack} cannot be looked up in {region}: {message}");
    }
    Ok(parse_outputs(&xml))
}

/// Parses the response to `DescribeStacks`: each output is a `<member>` with a key and a value.
fn parse_outputs(xml: &str) -> Outputs {
    xml.split("<member>")
        .filter_map(|output| {
            Some((
                first_element_text(output, "OutputKey")?,
                first_element_text(output, "OutputValue")?,
            ))
        })
        .collect()
}

/// Returns the text of the first element with this name.
fn first_element_text(xml: &str, name: &str) -> Option<String> {
    let (_, from) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = from.split_once(&format!("</{name}>"))?;
    Some(unescape_xml(text))
}

/// Resolves XML's character references, `&amp;` last, so that none is resolved twice.
fn unescape_xml(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
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
        assert_eq!(parse_outputs(xml), Outputs::from(found));
    }
}
