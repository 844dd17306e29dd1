//! The administration of a deployment: agents with their keys, projects, and dead letters, in the
//! tables and queues of a stack on AWS or of the local stack. The command `bematic` is the front
//! end; the local stack and the end-to-end tests use the library.

mod admin;
mod audit;
mod breaker;
pub mod cli;
mod cloudformation;
mod command;
mod deployment;
mod keys;
mod refusal;
mod rows;
mod signed;

pub use self::admin::{Admin, IssuedKey, NewProject};
pub use self::cloudformation::{Outputs, fetch_outputs};
pub use self::deployment::{
    AuditDays, Deployment, LocalStackFile, MANAGEMENT_URL_OUTPUT, STACK_FILE_VARIABLE, Tables,
    local_sdk_config, queue_urls,
};
pub use self::keys::{KeySummary, RevokedKeys};
pub use self::signed::send_signed;
