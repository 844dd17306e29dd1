//! The reference agent: connects to the cloud, and runs a command of its owner's choice for every
//! task. `session` decides; `run` (a command) and `connection` (the WebSocket) act; [`agent`] joins
//! them; [`ui`] shows notices.

pub mod agent;
mod backoff;
mod config;
mod connection;
mod key;
mod load;
mod notice;
mod progress_line;
mod run;
mod session;
#[cfg(test)]
mod tests;
mod text;
pub mod ui;
mod workdir;

pub use config::{Cli, Config, Timings};
pub use notice::{Notice, TaskStatus};
pub use run::{CommandLine, LAUNCH_ARGUMENT, RunAs, RunKey, launch};
pub use session::Exit;
pub use workdir::Workdirs;
