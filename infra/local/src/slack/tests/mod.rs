//! The local Slack as its callers meet it: over HTTP.

mod webhook;
