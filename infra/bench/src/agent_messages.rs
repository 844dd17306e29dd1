//! The messages of an agent, with content of an ordinary length.

use std::time::Duration;

use bematic_protocol::messages::Fault;
use bematic_test_agent::{AgentMessage, RunKey};
use serde_json::json;

pub(crate) const AGENT_CAPACITY: usize = 5;
pub(crate) const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
/// The reports of the ordinary task: steps, and pieces of output.
pub(crate) const STEPS_PER_TASK: u64 = 10;
pub(crate) const OUTPUT_CHUNKS_PER_TASK: u64 = 100;
/// The interval of the ordinary task's messages, 11 s in all: an agent sends what it has at once, and more
/// often than Slack can show it.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn status_message(agent: &str) -> AgentMessage {
    AgentMessage::agent_status(agent, AGENT_CAPACITY, &[""; 0])
}

pub(crate) fn ping_message() -> AgentMessage {
    AgentMessage::ping(&[""; 0])
}

fn progress_message(run: RunKey, n: u64) -> AgentMessage {
    let step = format!("Step {n}: reading src/login.py and its tests");
    let fields = json!({ "progress": 5, "message": step, "type": "tool_use" });
    AgentMessage::progress(run, fields)
}

pub(crate) fn stream_message(run: RunKey, seq: u64) -> AgentMessage {
    let line = format!("{seq}: the session is renewed when the user comes back in time. ");
    AgentMessage::stream(run, seq, &format!("{}\n", line.repeat(4)))
}

pub(crate) fn complete_message(run: RunKey) -> AgentMessage {
    let line = "- `login.py`: the session is renewed on every request, as the test asks for\n";
    let fields = json!({
        "result": format!("The login bug is fixed.\n\n{}", line.repeat(8)),
        "sessionId": "0198c0de-0000-7000-8000-00000000cafe", "model": "default",
        "inputTokens": 18_234, "outputTokens": 2_871, "estimatedCost": 0.21, "durationMs": 11_000,
        "filesChanged": ["src/login.py", "tests/test_login.py"], "commandsRun": ["pytest -q"],
    });
    AgentMessage::about(run, "TASK_COMPLETE", fields)
}

pub(crate) fn error_message(run: RunKey, fault: Fault) -> AgentMessage {
    AgentMessage::error(run, "the tests still fail").with("fault", fault)
}

/// The reports of a task while it runs, in order: its steps evenly among its output.
pub(crate) fn report_messages(
    run: RunKey,
    steps: u64,
    chunks: u64,
) -> impl Iterator<Item = AgentMessage> {
    (0..chunks).flat_map(move |seq| {
        // The step that is due with this piece of output, if one is.
        let due = (seq * steps).div_ceil(chunks);
        let step = (due * chunks).div_ceil(steps.max(1)) == seq && due < steps;
        let step = step.then(|| progress_message(run, due));
        step.into_iter().chain([stream_message(run, seq)])
    })
}

#[cfg(test)]
mod tests {
    use bematic_protocol::ids::{Attempt, IdGenerator as _, RandomIds};

    use super::*;

    #[test]
    fn steps_are_spread_evenly_among_the_output() {
        let run = RunKey {
            task_id: RandomIds.task(),
            attempt: Attempt::FIRST,
        };
        for (steps, chunks) in [(10, 100), (3, 6), (1, 1), (0, 4)] {
            let all: Vec<_> = report_messages(run, steps, chunks).collect();
            let is_step = |report: &&AgentMessage| report.kind == "TASK_PROGRESS";
            let found = all.iter().filter(is_step).count();
            assert_eq!(found as u64, steps, "{all:?}");
            assert_eq!(all.len() as u64, steps + chunks);
            assert!(is_step(&&all[0]) || steps == 0);
        }
    }
}
