//! End-to-end tests: the deployed stack, driven as agents and Slack drive it, over WebSocket and
//! HTTP only. `cargo xtask test` starts a stack of their own and runs them. Against one that runs
//! already, with the deadlines that they are made for (`cargo xtask up --no-agent --for-tests`):
//! `BEMATIC_STACK=target/local/stack.json cargo test --test e2e`.
//!
//! Each test makes an agent, a channel and a project of its own ([`harness::Test`]), so that all
//! run at once. One that fails prints the log lines of the functions that tell of what is its own.
//! To add one: a function in the module of `cases` that is about the same part.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod harness;
