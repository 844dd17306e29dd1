//! The permissions that the functions' calls need, recorded in all tests of a process.

use std::{
    collections::BTreeSet,
    env,
    fs::OpenOptions,
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use fake_aws::{Call, Failure, FailurePoint, Hook};

/// The environment variable with the path of the file to which the permissions are added, one a
/// line: the function, the action and the resource. Without it, none are recorded.
pub(crate) const RECORD_VARIABLE: &str = "BEMATIC_RECORD_PERMISSIONS";

/// The lines that are in the file.
static RECORDED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The hook that records what the functions call.
pub(crate) struct Recorder;

#[async_trait]
impl Hook for Recorder {
    async fn before_call(&self, call: &Call) -> Option<(FailurePoint, Failure)> {
        let Some(function) = call.caller else {
            panic!("{call}: no function is said to make this call");
        };
        if let Some(path) = env::var_os(RECORD_VARIABLE) {
            // A test that has failed meanwhile has left the set whole.
            let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
            let lines = call
                .permissions
                .iter()
                .map(|it| format!("{function} {it}\n"));
            for line in lines {
                if !recorded.contains(&line) {
                    let file = OpenOptions::new().create(true).append(true).open(&path);
                    file.and_then(|mut file| file.write_all(line.as_bytes()))
                        .unwrap();
                    recorded.insert(line);
                }
            }
        }
        None
    }
}
