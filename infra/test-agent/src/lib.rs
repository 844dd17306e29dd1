//! The test agent: the agent's side of the protocol, for whatever tests the cloud's side. [`Agent`]
//! works by a script, without I/O: messages in, messages out, time passed in. `Client` (feature
//! `client`) is an agent on a WebSocket that a test drives.
//!
//! Messages are written and read as JSON, apart from the types in `bematic_protocol::messages`, so
//! that the cloud is not tested with its own reading and writing.
//!
//! ```
//! # use bematic_protocol::{messages::TypeSpelling, time::Timestamp};
//! # use bematic_test_agent::{Agent, CloudMessage, Ledger, AgentMessage, Offer, Plan, Settings};
//! # use std::time::Duration;
//! let now = Timestamp::from_millis(1_700_000_000_000);
//! let script = |offer: &Offer| {
//!     Plan::accept()
//!         .with_message_at(Duration::from_secs(1), AgentMessage::complete(offer.run_key(), "done"))
//! };
//! let settings = Settings::new("box".parse()?);
//! let mut agent = Agent::new(settings, Box::new(script), Ledger::default(), now);
//! let submit = r#"{ "id": "m1", "type": "TASK_SUBMIT", "timestamp": 0, "payload":
//!     { "taskId": "0198c0de-0000-7000-8000-000000000001", "attempt": 1, "prompt": "fix it" } }"#;
//! let answers = agent.receive(&CloudMessage::read(submit)?, now);
//! assert_eq!(answers[0].message.kind, "TASK_ACK");
//! let due = agent.take_due_messages(now + Duration::from_secs(1));
//! assert!(due[0].text(TypeSpelling::Colons).contains("task:complete"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod ledger;
mod message;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod connection;

pub use agent::{Agent, OfferResponse, Plan, Script, Settings};
pub use bematic_protocol::messages::TypeSpelling;
#[cfg(feature = "client")]
pub use client::Client;
#[cfg(feature = "client")]
pub use connection::{Connection, HandshakeHeaders, Incoming};
pub use ledger::{AgentEvent, AttemptEvent, Entry, Ledger, TerminalReport};
pub use message::{AgentMessage, CloudMessage, EnvelopedMessage, Offer, RunKey};
