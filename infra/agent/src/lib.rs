//! The reference agent: connects to the cloud, and runs a command of its owner's choice for every
//! task. [`session`] decides; [`run`](mod@run) (a command) and [`connection`] (the socket) act;
//! [`agent`] joins them; [`ui`] shows notices.

pub mod agent;
mod backoff;
pub mod cli;
pub mod config;
pub mod connection;
pub mod event;
pub mod load;
pub mod progress_line;
pub mod run;
pub mod session;
#[cfg(test)]
mod tests;
mod text;
pub mod ui;
pub mod workdir;
