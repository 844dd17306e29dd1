//! The reference agent: connects to the cloud, and runs a command of its owner's choice for every
//! task. `session` decides; `run` (a command) and `connection` (the socket) act; [`agent`] joins
//! them; [`ui`] shows notices.

pub mod agent;
mod backoff;
pub mod cli;
pub mod config;
mod connection;
mod event;
mod load;
mod progress_line;
mod run;
mod run_key;
mod session;
#[cfg(test)]
mod tests;
mod text;
pub mod ui;
mod workdir;

pub use event::Exit;
pub use run::CommandLine;
pub use run_key::RunKey;
pub use session::StopReason;
pub use workdir::Workdirs;
