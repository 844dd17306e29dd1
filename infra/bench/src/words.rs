//! The content of the ordinary agent's messages, of an ordinary length.

use std::time::Duration;

use bematic_protocol::ids::AgentId;
use bematic_protocol::messages::Fault;
use bematic_test_agent::{Message, Run};
use serde_json::json;

/// The tasks that an agent takes at once.
pub(crate) const CAPACITY: usize = 5;
/// The interval of heartbeats, by the protocol.
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// The reports of the ordinary task: steps and pieces of output.
pub(crate) const STEPS: u64 = 10;
pub(crate) const CHUNKS: u64 = 100;

pub(crate) fn status(agent: &AgentId) -> Message {
    Message::status(agent.as_str(), CAPACITY, &[""; 0])
}

pub(crate) fn progress(run: Run, n: u64) -> Message {
    let step = format!("Step {n}: reading src/login.py and its tests");
    let fields = json!({ "progress": 5, "message": step, "type": "tool_use" });
    Message::progress(run, fields)
}

pub(crate) fn stream(run: Run, seq: u64) -> Message {
    let line = format!("{seq}: the session is renewed when the user comes back in time. ");
    Message::stream(run, seq, &format!("{}\n", line.repeat(4)))
}

pub(crate) fn complete(run: Run) -> Message {
    let line = "- `login.py`: the session is renewed on every request, as the test asks for\n";
    Message::complete(
        run,
        &format!("The login bug is fixed.\n\n{}", line.repeat(8)),
    )
    .with("sessionId", "0198c0de-0000-7000-8000-00000000cafe")
    .with("inputTokens", 18_234)
    .with("outputTokens", 2_871)
    .with("estimatedCost", 0.21)
    .with("filesChanged", ["src/login.py", "tests/test_login.py"])
    .with("commandsRun", ["pytest -q"])
    .with("durationMs", 11_000)
    .with("model", "default")
}

pub(crate) fn failure(run: Run, fault: Fault) -> Message {
    Message::error(run, "the tests still fail").with("fault", fault)
}

/// A report of a running task as a message.
pub(crate) fn report(run: Run, report: Report) -> Message {
    match report {
        Report::Step(n) => progress(run, n),
        Report::Chunk(seq) => stream(run, seq),
    }
}

/// Returns the reports of an ordinary task while it runs, in order: its steps evenly among its output.
pub(crate) fn reports(steps: u64, chunks: u64) -> impl Iterator<Item = Report> {
    (0..chunks).flat_map(move |seq| {
        // The step that is due with this piece of output, if one is.
        let due = (seq * steps).div_ceil(chunks);
        let step = (due * chunks).div_ceil(steps.max(1)) == seq && due < steps;
        let step = step.then_some(Report::Step(due));
        step.into_iter().chain([Report::Chunk(seq)])
    })
}

/// A report of a running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    Step(u64),
    Chunk(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_spread_evenly_among_the_output() {
        for (steps, chunks) in [(10, 100), (3, 6), (1, 1), (0, 4)] {
            let all: Vec<_> = reports(steps, chunks).collect();
            let is_step = |report: &&Report| matches!(report, Report::Step(_));
            let found = all.iter().filter(is_step).count();
            assert_eq!(found as u64, steps, "{all:?}");
            assert_eq!(all.len() as u64, steps + chunks);
            assert!(matches!(all[0], Report::Step(0)) || steps == 0);
        }
    }
}
