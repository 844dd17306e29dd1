//! The AWS account that the fake is.

/// Where the clients think that AWS is; nothing resolves it.
pub(crate) const ENDPOINT: &str = "http://aws.invalid";
/// Its region.
pub(crate) const REGION: &str = "us-east-1";
/// Its number.
pub(crate) const NUMBER: &str = "000000000000";
