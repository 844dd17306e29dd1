//! What a person, or a machine, sees of the agent.

mod json;
mod live;
mod notice;
mod plain;
mod words;

use std::io::{self, IsTerminal};

pub use self::notice::{Notice, Status, Ui};

/// The way that fits: JSON lines on standard output if asked for; otherwise, on standard error, a
/// live line a task on a terminal and plain lines elsewhere.
pub fn choose(json: bool) -> Box<dyn Ui> {
    if json {
        Box::new(json::Json::new(io::stdout()))
    } else if io::stderr().is_terminal() {
        Box::new(live::Live::new())
    } else {
        Box::new(plain::Plain::new(io::stderr()))
    }
}
