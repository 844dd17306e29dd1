//! The local stack: `template.yaml` deployed onto an AWS emulator, a small Slack beside it, and the
//! sample agent. `cargo xtask` builds and calls it as `bematic-local`.
//!
//! Each task is one module ([`up`], [`e2e`], [`chaos`]), made of the parts that start and end one thing
//! each ([`emulator`], [`edge`], [`local_slack`], [`deploy`]). The programs must have been built before:
//! `cargo xtask` does that.

pub mod build;
pub mod chaos;
pub mod deploy;
pub mod e2e;
pub mod edge;
pub mod emulator;
pub mod logs;
pub mod paths;
pub mod process;
pub mod run;
pub mod sample;
pub mod session;
pub mod stack;
pub mod ui;
pub mod up;
pub mod watch;
