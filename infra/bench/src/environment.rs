//! An execution environment: one process of a function, as Lambda starts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bematic_local::run::{last_lines, program};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::log::Service;
use crate::runtime::Runtime;
use crate::template::Function;

/// How long a function may take to poll: Lambda gives it 10 s.
const START_WITHIN: Duration = Duration::from_secs(10);
/// How long after its poll a process is at rest, so that its processor time stands still.
const AT_REST: Duration = Duration::from_millis(1);

/// What came of an invocation.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// When the event was handed out.
    pub(crate) handed: Instant,
    /// When the answer was here.
    pub(crate) answered: Instant,
    /// How long a processor worked at it, from one poll to the next.
    pub(crate) worked: Duration,
    /// What was answered; an error as the function reports it.
    pub(crate) outcome: Result<Value, Value>,
}

/// A process that waits for invocations.
#[derive(Debug)]
pub(crate) struct Environment {
    name: String,
    child: Child,
    runtime: Runtime,
    /// From exec to the first poll.
    pub(crate) init: Duration,
    /// Invocations until now.
    pub(crate) invocations: usize,
    /// The services that they have called.
    pub(crate) called: BTreeSet<Service>,
    timeout: Duration,
    log: PathBuf,
}

impl Environment {
    /// Starts `binary` with what the template gives the function, and what Lambda gives every
    /// function. Its output goes to `log`.
    pub(crate) async fn start(
        binary: &Path,
        function: &Function,
        aws: &str,
        log: PathBuf,
    ) -> Result<Self> {
        let mut runtime = Runtime::start(function.timeout).await?;
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = program(binary);
        command
            .env_clear()
            .envs(lambda(function, &runtime.address.to_string(), aws))
            .envs(&function.variables)
            .stdout(out.try_clone()?)
            .stderr(out);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{} could not be started", binary.display()))?;
        let polled = async {
            tokio::select! {
                Some(at) = runtime.polls.recv() => Ok(at),
                Some(answer) = runtime.answers.recv() => bail!("it says {:?}", answer.outcome),
                status = child.wait() => bail!("it ended with {}", status?),
            }
        };
        let Ok(polled) = timeout(START_WITHIN, polled).await else {
            bail!("{} did not poll within {START_WITHIN:?}", function.name)
        };
        let polled = polled.with_context(|| {
            let output = fs::read_to_string(&log).unwrap_or_default();
            format!(
                "{} did not start:\n{}",
                function.name,
                last_lines(&output, 20)
            )
        })?;
        Ok(Self {
            name: function.name.clone(),
            init: polled.duration_since(started),
            child,
            runtime,
            invocations: 0,
            called: BTreeSet::new(),
            timeout: function.timeout,
            log,
        })
    }

    /// Hands an event out, and waits for what is answered and for the next poll.
    pub(crate) async fn invoke(&mut self, event: Value) -> Result<Answer> {
        self.invocations += 1;
        sleep(AT_REST).await;
        let before = self.processor_time()?;
        self.runtime.invoke(event)?;
        let answer = async {
            let answer = self.runtime.answers.recv().await;
            answer.zip(self.runtime.polls.recv().await)
        };
        let answer = match timeout(self.timeout, answer).await {
            Ok(Some((answer, _))) => answer,
            Ok(None) => bail!("the Runtime API of {} has ended", self.name),
            Err(_) => bail!(
                "{} did not answer within {:?}; its output is in {}",
                self.name,
                self.timeout,
                self.log.display()
            ),
        };
        sleep(AT_REST).await;
        Ok(Answer {
            handed: answer.handed,
            answered: answer.answered,
            worked: self.processor_time()?.saturating_sub(before),
            outcome: answer.outcome,
        })
    }

    /// How long processors have worked at its threads.
    fn processor_time(&self) -> Result<Duration> {
        let id = self.child.id().context("the process has ended")?;
        let threads = fs::read_dir(format!("/proc/{id}/task"));
        let threads =
            threads.with_context(|| format!("cannot see the threads of {}", self.name))?;
        let mut sum = 0;
        for thread in threads {
            let path = thread?.path().join("schedstat");
            // One that has ended meanwhile is no more than noise.
            let statistics = fs::read_to_string(path).unwrap_or_default();
            sum += worked(&statistics).unwrap_or_default();
        }
        if sum == 0 {
            bail!("this kernel keeps no processor times in /proc/…/schedstat");
        }
        Ok(Duration::from_nanos(sum))
    }

    /// The most memory that was resident at a time, in KB.
    pub(crate) fn peak_kb(&self) -> Result<u64> {
        let id = self.child.id().context("the process has ended")?;
        let status = fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.with_context(|| format!("cannot see the memory of {}", self.name))?;
        peak(&status).with_context(|| format!("{} has no VmHWM", self.name))
    }

    /// Bytes of log lines until now.
    pub(crate) fn logged(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }
}

/// Nanoseconds on a processor: the first number of `schedstat`.
fn worked(statistics: &str) -> Option<u64> {
    statistics.split_whitespace().next()?.parse().ok()
}

fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// What Lambda sets, with credentials that open nothing.
fn lambda(function: &Function, runtime: &str, aws: &str) -> BTreeMap<String, String> {
    let name = &function.name;
    let memory = function.memory.to_string();
    let group = format!("/aws/lambda/{name}");
    let pairs = [
        ("AWS_LAMBDA_RUNTIME_API", runtime),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023"),
        ("AWS_ENDPOINT_URL", aws),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "bench"),
        ("AWS_SESSION_TOKEN", "bench"),
        ("_HANDLER", "bootstrap"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_processs_status() {
        let status = "Name:\tws-message\nVmPeak:\t  99 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak(status), Some(12345));
        assert_eq!(peak("Name:\tx\n"), None);
    }

    #[test]
    fn processor_time_is_not_the_time_of_waiting_for_a_processor() {
        assert_eq!(worked("2500000 990000000 12\n"), Some(2_500_000));
        assert_eq!(worked(""), None);
    }
}
