//! Runs the traces of `breaker_traces/`: what happens to a breaker, and what has to come of it.
//! `BREAKER_TRACES_DIR` names another folder.
//!
//! A file is named after what it shows:
//!
//! ```json
//! {
//!   "config": { "minimumRequestCount": 1 },
//!   "steps": [
//!     { "atMs": 0, "event": "failure", "id": "t1#1", "state": "open" },
//!     { "atMs": 60000, "event": "allow", "id": "t2#1", "allowed": true, "state": "half-open" }
//!   ]
//! }
//! ```
//! What `config` leaves out is as in [`BreakerConfig::default`]. `state` is that after the step;
//! `tookMs` says how long a success took. Other fields, such as `comment`, are for readers.

use std::{collections::HashSet, env, fs, path::PathBuf, time::Duration};

use bematic::breaker::{Breaker, BreakerConfig, BreakerEvent, FailureKind, Verdict};
use bematic_protocol::time::Timestamp;
use garde::Validate as _;
use serde::Deserialize;
use serde_json::Value;

const FOLDER_VARIABLE: &str = "BREAKER_TRACES_DIR";

#[derive(Deserialize)]
struct Trace {
    #[serde(default)]
    config: BreakerConfig,
    steps: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    at_ms: u64,
    #[serde(flatten)]
    event: Event,
    state: Name,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(
    tag = "event",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
enum Event {
    Success {
        id: String,
        #[serde(default)]
        took_ms: u64,
    },
    Failure {
        id: String,
    },
    Allow {
        id: String,
        allowed: bool,
    },
    Reset,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Closed,
    Open,
    #[serde(alias = "half_open")]
    HalfOpen,
}

impl Name {
    const fn text(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Event {
    fn into_breaker_event(self) -> BreakerEvent {
        match self {
            Self::Success { id, took_ms } => {
                BreakerEvent::Success(id, Duration::from_millis(took_ms))
            }
            Self::Failure { id } => BreakerEvent::Failure(id, FailureKind::Error, "no".into()),
            Self::Allow { id, .. } => BreakerEvent::Allow(id, Duration::ZERO),
            Self::Reset => BreakerEvent::Reset,
        }
    }
}

/// Runs one trace; what is wrong with it, if anything is.
fn run(text: &str) -> Result<(), String> {
    let trace: Trace = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let config = trace.config;
    config
        .validate()
        .map_err(|report| format!("config: {report}"))?;
    if trace.steps.is_empty() {
        return Err("it has no steps".into());
    }
    let (mut breaker, mut ended) = (Breaker::default(), HashSet::new());
    for (index, step) in trace.steps.into_iter().enumerate() {
        breaker = take(&breaker, &step, &config, &mut ended)
            .map_err(|why| format!("steps[{index}] {step}: {why}"))?;
    }
    Ok(())
}

/// `ended` are the attempts that have ended: a task ends an attempt once, whatever is told once more of
/// it, and its breaker is written in the same transaction.
fn take(
    breaker: &Breaker,
    step: &Value,
    config: &BreakerConfig,
    ended: &mut HashSet<String>,
) -> Result<Breaker, String> {
    let step = Step::deserialize(step).map_err(|error| error.to_string())?;
    let event = match &step.event {
        Event::Success { id, .. } | Event::Failure { id } if !ended.insert(id.clone()) => {
            BreakerEvent::Tick
        }
        event => event.clone().into_breaker_event(),
    };
    let taken = breaker.after(event, config, Timestamp::from_millis(step.at_ms));
    if let Event::Allow { allowed, .. } = step.event
        && allowed != (taken.verdict == Verdict::Allowed)
    {
        return Err(format!(
            "expected allowed {allowed}, but it is {}",
            !allowed
        ));
    }
    let (expected, state) = (step.state.text(), taken.next.state.name());
    if expected != state {
        return Err(format!("expected state {expected}, but it is {state}"));
    }
    Ok(taken.next)
}

/// Runs all traces, given by name and text; what is wrong, a line a file.
fn run_all(traces: &[(String, String)]) -> Vec<String> {
    let wrong = traces.iter().filter_map(|(name, text)| {
        let why = run(text).err()?;
        Some(format!("{name}: {why}"))
    });
    wrong.collect()
}

/// The folder of the traces. A relative one is looked for in the workspace too, since that is where
/// cargo is called.
fn folder() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let Some(named) = env::var_os(FOLDER_VARIABLE).map(PathBuf::from) else {
        return package.join("../tests/breaker_traces");
    };
    if named.exists() {
        return named;
    }
    package.join("../..").join(named)
}

fn read_all() -> Result<Vec<(String, String)>, String> {
    let folder = folder();
    let fault = |error| format!("{}: {error}", folder.display());
    let mut traces = Vec::new();
    for entry in fs::read_dir(&folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.display().to_string();
            let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            traces.push((name, text));
        }
    }
    traces.sort();
    if traces.is_empty() {
        return Err(format!("{}: no traces (*.json)", folder.display()));
    }
    Ok(traces)
}

#[test]
fn breaker_traces() {
    let traces = match read_all() {
        Ok(traces) => traces,
        Err(why) => panic!("{why}"),
    };
    let wrong = run_all(&traces);
    assert!(
        wrong.is_empty(),
        "{} of {} traces do not hold:\n{}",
        wrong.len(),
        traces.len(),
        wrong.join("\n")
    );
}

#[test]
fn breaker_traces_that_do_not_hold_are_all_named() {
    let step = r#"{"atMs":0,"event":"failure","id":"t1#1","state":"closed"}"#;
    let cases = [
        (
            "holds",
            format!(
                r#"{step},{{"atMs":1,"event":"reset","id":"","state":"closed","comment":"as before"}}"#
            ),
            None,
        ),
        (
            "state",
            format!("{step},{}", step.replace("closed", "open")),
            Some("steps[1] "),
        ),
        (
            "state-2",
            step.replace("closed", "half-open"),
            Some("expected state half-open, but it is closed"),
        ),
        (
            "allowed",
            r#"{"atMs":0,"event":"allow","id":"t1#1","allowed":false,"state":"closed"}"#.into(),
            Some("expected allowed false, but it is true"),
        ),
        ("no-event", step.replace("event", "evnt"), Some("`event`")),
        (
            "event",
            step.replace("failure", "explode"),
            Some("`explode`"),
        ),
        ("no-id", step.replace("id", "comment"), Some("`id`")),
        ("no-state", step.replace("state", "stat"), Some("`state`")),
        ("no-time", step.replace("atMs", "at"), Some("`atMs`")),
        ("no-steps", String::new(), Some("no steps")),
    ];
    let traces: Vec<_> = cases
        .iter()
        .map(|(name, steps, _)| (format!("{name}.json"), format!(r#"{{"steps":[{steps}]}}"#)))
        .chain([
            ("broken.json".into(), "{".into()),
            (
                "config.json".into(),
                format!(r#"{{"config":{{"minimumRequestCount":0}},"steps":[{step}]}}"#),
            ),
        ])
        .collect();
    let wrong = run_all(&traces);
    assert_eq!(wrong.len(), cases.len() - 1 + 2, "{wrong:#?}");
    for (name, _, expected) in cases {
        let said = wrong
            .iter()
            .find(|line| line.starts_with(&format!("{name}.json: ")));
        match expected {
            None => assert_eq!(said, None),
            Some(expected) => {
                assert!(said.is_some_and(|line| line.contains(expected)), "{said:?}");
            }
        }
    }
}
