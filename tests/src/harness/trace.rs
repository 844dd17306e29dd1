//! What the functions said about a test that failed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::thread;

use bematic_local::logs;
use bematic_local::stack::StackFile;
use xtask::Workspace;

/// Lines of a function that are printed at most.
const LINES: usize = 60;

/// Knows what is a test's own, and prints the log lines about it if the test fails.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stack: StackFile,
    ids: Mutex<BTreeSet<String>>,
}

impl Trace {
    pub(crate) fn new(stack: &StackFile) -> Self {
        Self(Arc::new(Inner {
            stack: stack.clone(),
            ids: Mutex::default(),
        }))
    }

    /// Lines with this text are the test's own: an agent, a channel, a task.
    pub(crate) fn add(&self, id: &str) {
        self.0.ids.lock().unwrap().insert(id.to_owned());
    }

    /// The lines of one function about `text`.
    pub(crate) async fn lines(&self, function: &str, text: &str) -> Vec<String> {
        let events = logs::fetch_events(&self.0.stack, function, text).await;
        let events = events.expect("the function's log lines").into_iter();
        events.map(|event| event.message).collect()
    }
}

impl Drop for Inner {
    /// On a thread of its own: the test's runtime is being torn down.
    fn drop(&mut self) {
        if thread::panicking() {
            let ids = self.ids.lock().unwrap().clone();
            let told = thread::scope(|scope| scope.spawn(|| report(&self.stack, ids)).join());
            println!("{}", told.unwrap_or_else(|_| "no log lines".to_owned()));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn report(stack: &StackFile, mut ids: BTreeSet<String>) -> String {
    let mut text = format!("log lines about {ids:?}");
    // First what tells which connections are the test's.
    let connects = about(stack, "ws-connect", &ids).await;
    ids.extend(connects.iter().filter_map(|line| connection(line)));
    let functions = Workspace::find().and_then(|workspace| workspace.function_names());
    for function in functions.unwrap_or_default() {
        let lines = about(stack, &function, &ids).await;
        if !lines.is_empty() {
            let _ = write!(text, "\n── {function}");
        }
        for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
            let _ = write!(text, "\n{}", logs::format_line(line));
        }
    }
    text
}

/// The lines of one function that name one of `ids`, oldest first, each once.
async fn about(stack: &StackFile, function: &str, ids: &BTreeSet<String>) -> Vec<String> {
    let mut events = BTreeSet::new();
    for id in ids {
        match logs::fetch_events(stack, function, id).await {
            Ok(found) => events.extend(found),
            Err(error) => return vec![format!("{error:#}")],
        }
    }
    events.into_iter().map(|event| event.message).collect()
}

/// The connection that a line is about.
pub(crate) fn connection(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    json["fields"]["connection"].as_str().map(str::to_owned)
}
