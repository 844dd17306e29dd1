//! An execution environment: one process of a function, as Lambda starts it, with a Runtime API of its own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bematic_local::run::{kill_on_drop_command, last_lines};
use bematic_protocol::time::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::aws::serve_router;
use crate::invocation::Service;
use crate::template::Function;

/// The variables that Lambda sets for every function, with credentials that open nothing.
const LAMBDA_VARIABLES: &str = "AWS_LAMBDA_FUNCTION_VERSION=$LATEST AWS_LAMBDA_LOG_STREAM_NAME=bench \
    AWS_LAMBDA_LOG_FORMAT=JSON AWS_LAMBDA_LOG_LEVEL=INFO \
    AWS_LAMBDA_INITIALIZATION_TYPE=on-demand AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023 \
    AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=bench \
    AWS_SECRET_ACCESS_KEY=bench AWS_SESSION_TOKEN=bench LANG=en_US.UTF-8 TZ=:UTC \
    PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:bench";
/// How long a function may take to poll: Lambda gives it 10 s.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after its poll a process is at rest, so that its processor time stands still.
const PROCESS_IDLE_DELAY: Duration = Duration::from_millis(1);

/// What a function answered to an invocation, when, and how long processors worked at it.
pub(crate) struct TimedAnswer {
    pub(crate) handed_out: Instant,
    pub(crate) answered: Instant,
    pub(crate) worked: Duration,
    /// The answer, or the error as the function reports it.
    pub(crate) outcome: Result<Value, Value>,
}

/// What happened between a function's process and the Runtime API.
#[derive(Debug)]
enum RuntimeApiStep {
    Polled,
    HandedOut,
    /// The process answered, or reported an error of an invocation or of its start.
    Answered(Result<Value, Value>),
}

/// The Runtime API's end of the channels.
struct RuntimeApi {
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    steps: mpsc::UnboundedSender<(Instant, RuntimeApiStep)>,
    timeout: Duration,
}

impl RuntimeApi {
    fn report_step(&self, step: RuntimeApiStep) {
        self.steps.send((Instant::now(), step)).ok();
    }
}

/// A process that waits for invocations.
pub(crate) struct Environment {
    name: String,
    child: Child,
    events: mpsc::UnboundedSender<Value>,
    steps: mpsc::UnboundedReceiver<(Instant, RuntimeApiStep)>,
    _serving: AbortOnDropHandle<()>,
    pub(crate) init: Duration,
    pub(crate) invocations: usize,
    pub(crate) called: BTreeSet<Service>,
    /// The ids of the messages that invocations have sent to queues.
    pub(crate) sent: BTreeSet<String>,
    timeout: Duration,
    log: PathBuf,
}

impl Environment {
    /// Starts `binary` with the variables of the template and of Lambda. Its output goes to `log`.
    pub(crate) async fn start(
        name: &str,
        binary: &Path,
        function: &Function,
        aws: &str,
        log: PathBuf,
    ) -> Result<Self> {
        let (events, events_out) = mpsc::unbounded_channel();
        let (steps_in, mut steps) = mpsc::unbounded_channel();
        let runtime_api = RuntimeApi {
            events: Mutex::new(events_out),
            steps: steps_in,
            timeout: function.timeout,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
            .fallback(receive_answer)
            .with_state(Arc::new(runtime_api));
        let (address, serving) = serve_router(router).await?;
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let memory = function.memory.to_string();
        let mut command = kill_on_drop_command(binary);
        command
            .env_clear()
            .envs(
                LAMBDA_VARIABLES
                    .split(' ')
                    .filter_map(|it| it.split_once('=')),
            )
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_ENDPOINT_URL", aws)
            .envs(&function.variables)
            .stdout(out.try_clone()?)
            .stderr(out);
        let started = Instant::now();
        let child = command.spawn();
        let mut child = child.with_context(|| format!("{} cannot start", binary.display()))?;
        let polled = async {
            tokio::select! {
                Some(step) = steps.recv() => match step {
                    (at, RuntimeApiStep::Polled) => Ok(at),
                    (_, step) => bail!("its first step was {step:?}"),
                },
                status = child.wait() => bail!("it ended with {}", status?),
            }
        };
        let polled = timeout(START_TIMEOUT, polled).await;
        let polled = polled.context("it did not poll in time").flatten();
        let polled = polled.with_context(|| {
            let output = fs::read_to_string(&log).unwrap_or_default();
            format!("{name} did not start:\n{}", last_lines(&output, 20))
        })?;
        Ok(Self {
            name: name.to_owned(),
            init: polled.duration_since(started),
            child,
            events,
            steps,
            _serving: serving,
            invocations: 0,
            called: BTreeSet::new(),
            sent: BTreeSet::new(),
            timeout: function.timeout,
            log,
        })
    }

    /// Hands an event out, and waits for the answer and for the next poll.
    pub(crate) async fn invoke(&mut self, event: Value) -> Result<TimedAnswer> {
        self.invocations += 1;
        sleep(PROCESS_IDLE_DELAY).await;
        let before = self.processor_time()?;
        self.events.send(event)?;
        let steps = async {
            let (handed_out, _) = self.steps.recv().await?;
            let (answered, RuntimeApiStep::Answered(outcome)) = self.steps.recv().await? else {
                return None;
            };
            self.steps.recv().await?;
            Some((handed_out, answered, outcome))
        };
        let steps = timeout(self.timeout, steps).await.ok().flatten();
        let (handed_out, answered, outcome) = steps.with_context(|| {
            let (name, limit, log) = (&self.name, self.timeout, self.log.display());
            format!("{name} did not answer within {limit:?}; its output is in {log}")
        })?;
        sleep(PROCESS_IDLE_DELAY).await;
        Ok(TimedAnswer {
            handed_out,
            answered,
            worked: self.processor_time()?.saturating_sub(before),
            outcome,
        })
    }

    /// How long processors have worked in all threads of the process until now.
    fn processor_time(&self) -> Result<Duration> {
        let mut sum = 0;
        let threads = fs::read_dir(self.proc_path("task")?);
        for thread in threads.with_context(|| format!("{} has no threads", self.name))? {
            // A thread that has ended meanwhile is no more than noise.
            let statistics = fs::read_to_string(thread?.path().join("schedstat"));
            sum += parse_processor_nanos(&statistics.unwrap_or_default()).unwrap_or_default();
        }
        if sum == 0 {
            bail!("this kernel keeps no processor times in /proc/…/schedstat");
        }
        Ok(Duration::from_nanos(sum))
    }

    /// The most memory that was resident at a time, in KB.
    pub(crate) fn peak_memory_kb(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc_path("status")?)?;
        parse_peak_memory_kb(&status).with_context(|| format!("{} has no VmHWM", self.name))
    }

    fn proc_path(&self, file: &str) -> Result<String> {
        let id = self.child.id().context("the process has ended")?;
        Ok(format!("/proc/{id}/{file}"))
    }

    /// The bytes of its output until now.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

/// Nanoseconds on a processor: the first number of `schedstat`.
fn parse_processor_nanos(statistics: &str) -> Option<u64> {
    statistics.split_whitespace().next()?.parse().ok()
}

fn parse_peak_memory_kb(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim_end_matches("kB").trim().parse().ok()
}

/// Answers the poll for the next invocation, once there is one.
async fn next_invocation(State(api): State<Arc<RuntimeApi>>) -> Response {
    api.report_step(RuntimeApiStep::Polled);
    let Some(event) = api.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = (SystemClock.now() + api.timeout).as_millis().to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", "bench"),
        ("lambda-runtime-deadline-ms", &deadline),
        ("lambda-runtime-invoked-function-arn", FUNCTION_ARN),
        ("lambda-runtime-trace-id", "Root=1-0;Parent=0;Sampled=0"),
        ("content-type", "application/json"),
    ];
    let response = (headers, event.to_string()).into_response();
    api.report_step(RuntimeApiStep::HandedOut);
    response
}

/// Receives the answer to an invocation at `…/response`, and an error at `…/error`.
async fn receive_answer(State(api): State<Arc<RuntimeApi>>, uri: Uri, body: Bytes) -> Response {
    let value = serde_json::from_slice(&body);
    api.report_step(RuntimeApiStep::Answered(
        if uri.path().ends_with("/response") {
            value.map_err(|error| json!({ "errorMessage": error.to_string() }))
        } else {
            Err(value.unwrap_or_default())
        },
    ));
    (StatusCode::ACCEPTED, r#"{"status":"OK"}"#).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_processs_status() {
        let status = "Name:\tws-message\nVmPeak:\t  99 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(parse_peak_memory_kb(status), Some(12345));
        assert_eq!(parse_peak_memory_kb("Name:\tx\n"), None);
    }

    #[test]
    fn processor_time_is_not_the_time_of_waiting_for_a_processor() {
        assert_eq!(
            parse_processor_nanos("2500000 990000000 12\n"),
            Some(2_500_000)
        );
        assert_eq!(parse_processor_nanos(""), None);
    }
}
