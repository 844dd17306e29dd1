//! The local stack: `template.yaml` deployed onto an AWS emulator, a small Slack beside it, and the
//! sample agent; with what a developer or CI runs around it. `cargo xtask` is its command line.
//!
//! A task of `cargo xtask` is one module ([`up`], [`down`], [`check`], [`e2e`], …), made of the
//! parts that start and end one thing each ([`venv`], [`build`], [`emulator`], [`edge`], [`deploy`]).

pub mod admin;
pub mod build;
pub mod chaos;
pub mod check;
pub mod deploy;
pub mod down;
pub mod e2e;
pub mod edge;
pub mod emulator;
pub mod logs;
pub mod paths;
pub mod process;
pub mod run;
pub mod sample;
pub mod session;
pub mod slack;
pub mod stack;
pub mod ui;
pub mod up;
pub mod venv;
pub mod watch;
