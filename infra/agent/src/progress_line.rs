//! Progress lines, by which a command reports progress: the run's prefix, a space and a JSON
//! object, on standard output. They are not part of the output. The form is documented in this
//! crate's README.

use bematic_protocol::messages::{Fault, StepKind};
use serde::Deserialize;

/// The beginning of a progress line without a nonce. Any text may begin so that a command prints,
/// such as a file that somebody else has written.
const PLAIN_PREFIX: &str = "::bematic ";

/// The longest progress line, in bytes: room for a result that fills a message, escaped.
const MAX_LINE_BYTES: usize = 512 * 1024;

/// The content of one line. Unknown fields are ignored, so that a command may be newer than its
/// agent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProgressLine {
    pub(crate) step: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: StepKind,
    /// Percent, 0 to 100.
    pub(crate) progress: Option<f64>,
    pub(crate) message: Option<String>,
    /// The fields of the task's end.
    #[serde(flatten)]
    pub(crate) summary: ResultFields,
}

/// The fields of a task's end. Later lines add to earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ResultFields {
    /// The result, in Markdown; without it, the end of the output is the result.
    pub(crate) result: Option<String>,
    /// The command's own session, to resume from.
    pub(crate) session_id: Option<String>,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    /// US dollars.
    pub(crate) estimated_cost: Option<f64>,
    pub(crate) files_changed: Option<Vec<String>>,
    pub(crate) commands_run: Option<Vec<String>>,
    /// The number of times that the command went on after reaching its limits.
    pub(crate) continuations: Option<u64>,
    pub(crate) model: Option<String>,
    /// The error; with one the task fails, whatever the exit code.
    pub(crate) error: Option<String>,
    /// Whether running the task again may help.
    pub(crate) recoverable: Option<bool>,
    /// The party at fault.
    pub(crate) fault: Option<Fault>,
}

impl ResultFields {
    /// Adds the fields of a later line; fields that it does not have stay.
    pub(crate) fn merge(&mut self, later: Self) {
        let earlier = std::mem::take(self);
        *self = Self {
            result: later.result.or(earlier.result),
            session_id: later.session_id.or(earlier.session_id),
            input_tokens: later.input_tokens.or(earlier.input_tokens),
            output_tokens: later.output_tokens.or(earlier.output_tokens),
            estimated_cost: later.estimated_cost.or(earlier.estimated_cost),
            files_changed: later.files_changed.or(earlier.files_changed),
            commands_run: later.commands_run.or(earlier.commands_run),
            continuations: later.continuations.or(earlier.continuations),
            model: later.model.or(earlier.model),
            error: later.error.or(earlier.error),
            recoverable: later.recoverable.or(earlier.recoverable),
            fault: later.fault.or(earlier.fault),
        };
    }
}

/// Returns the prefix of a run's progress lines, without the space that follows it. Only the
/// command gets to know the `nonce`, so that no text that was there before the run has it.
pub(crate) fn line_prefix(nonce: &str) -> String {
    format!("{}-{nonce}", PLAIN_PREFIX.trim_end())
}

/// Parses the text after the prefix. An error says what is wrong with the line.
fn parse_progress_json(json: &str) -> Result<ProgressLine, String> {
    let line: ProgressLine =
        serde_json::from_str(json.trim()).map_err(|error| format!("it is not valid: {error}"))?;
    if let Some(progress) = line.progress
        && !(0.0..=100.0).contains(&progress)
    {
        return Err(format!("progress is {progress}, not 0 to 100"));
    }
    if line == ProgressLine::default() {
        return Err("it declares nothing that is known".to_owned());
    }
    Ok(line)
}

/// A segment of standard output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OutputSegment {
    Text(String),
    ProgressLine(Box<ProgressLine>),
    /// The beginning of a progress line without the run's prefix, which is not accepted. It is
    /// output, and the agent's owner gets a warning.
    PlainLine(String),
    /// A progress line that could not be parsed. It is output, and its author gets a warning.
    Malformed {
        line: String,
        reason: String,
    },
}

/// Separates progress lines from output as it arrives. Only the beginning of a possible progress
/// line is held back.
#[derive(Debug)]
pub(crate) struct ProgressLineExtractor {
    /// The run's prefix, with its space.
    prefix: String,
    accepts_plain: bool,
    /// The beginning of a line that may become a progress line.
    partial: String,
    /// Whether the line being read is known to be output.
    inside: bool,
}

impl ProgressLineExtractor {
    /// Accepts lines with a prefix of [`line_prefix`], and plain ones only if told so.
    pub(crate) fn new(prefix: &str, accepts_plain: bool) -> Self {
        Self {
            prefix: format!("{prefix} "),
            accepts_plain,
            partial: String::new(),
            inside: false,
        }
    }

    /// Returns the segments of the next text.
    pub(crate) fn push(&mut self, text: &str) -> Vec<OutputSegment> {
        let mut segments = Vec::new();
        for part in text.split_inclusive('\n') {
            let ended = part.ends_with('\n');
            if self.inside {
                segments.push(OutputSegment::Text(part.to_owned()));
            } else {
                self.partial.push_str(part);
                segments.extend(self.take_segment(ended));
            }
            self.inside = !ended && (self.inside || self.partial.is_empty());
        }
        segments
    }

    /// Returns the rest when the output has ended.
    pub(crate) fn finish(&mut self) -> Option<OutputSegment> {
        if self.partial.is_empty() {
            return None;
        }
        self.take_segment(true)
    }

    /// Returns the segment that the partial line is, if that is known already.
    fn take_segment(&mut self, ended: bool) -> Option<OutputSegment> {
        let prefixes = [self.prefix.as_str(), PLAIN_PREFIX];
        let accepted = prefixes
            .iter()
            .take(if self.accepts_plain { 2 } else { 1 })
            .find(|prefix| self.partial.starts_with(**prefix));
        let undecided =
            |prefix: &&str| prefix.len() > self.partial.len() && prefix.starts_with(&self.partial);
        let open = accepted.is_some() || prefixes.iter().any(undecided);
        if !ended && open && self.partial.len() <= MAX_LINE_BYTES {
            return None;
        }
        let prefix_len = accepted.map(|prefix| prefix.len());
        let line = std::mem::take(&mut self.partial);
        let Some(json) = prefix_len.and_then(|len| line.get(len..)) else {
            return Some(if line.starts_with(PLAIN_PREFIX) {
                OutputSegment::PlainLine(line)
            } else {
                OutputSegment::Text(line)
            });
        };
        let parsed = if ended {
            parse_progress_json(json)
        } else {
            Err(format!("it is longer than {MAX_LINE_BYTES} bytes"))
        };
        Some(match parsed {
            Ok(line) => OutputSegment::ProgressLine(Box::new(line)),
            Err(reason) => OutputSegment::Malformed { line, reason },
        })
    }
}

#[cfg(test)]
mod tests {
    use bematic_fuzz::{Unstructured, fuzz};
    use proptest::prelude::*;

    use super::*;

    const PREFIX: &str = "::bematic-n1";

    /// The output, the progress lines, and the number of lines that could not be parsed, of a text
    /// in which `#` stands for the run's prefix.
    fn read(text: &str, size: usize) -> (String, Vec<ProgressLine>, usize) {
        let (output, declared, malformed, _) = read_all(text, size, false);
        (output, declared, malformed)
    }

    /// The same, and the number of plain lines that are not accepted.
    fn read_all(
        text: &str,
        size: usize,
        accepts_plain: bool,
    ) -> (String, Vec<ProgressLine>, usize, usize) {
        let text = text.replace('#', PREFIX);
        let mut lines = ProgressLineExtractor::new(&line_prefix("n1"), accepts_plain);
        let chars: Vec<char> = text.chars().collect();
        let mut segments: Vec<OutputSegment> = chars
            .chunks(size)
            .flat_map(|chunk| lines.push(&chunk.iter().collect::<String>()))
            .collect();
        segments.extend(lines.finish());
        let (mut output, mut declared) = (String::new(), Vec::new());
        let (mut malformed, mut plain) = (0, 0);
        for segment in segments {
            match segment {
                OutputSegment::Text(text) => output.push_str(&text),
                OutputSegment::ProgressLine(line) => declared.push(*line),
                OutputSegment::PlainLine(text) => {
                    output.push_str(&text);
                    plain += 1;
                }
                OutputSegment::Malformed { line, .. } => {
                    output.push_str(&line);
                    malformed += 1;
                }
            }
        }
        (output.replace(PREFIX, "#"), declared, malformed, plain)
    }

    #[test]
    fn progress_lines_are_taken_out_of_the_output() {
        let text = "one\n# {\"step\":\"Reading\",\"type\":\"tool_use\"}\ntwo\n";
        for size in [1, 2, 7, 100] {
            let (output, declared, malformed) = read(text, size);
            assert_eq!((output.as_str(), malformed), ("one\ntwo\n", 0));
            assert_eq!(declared[0].step.as_deref(), Some("Reading"));
            assert_eq!(declared[0].kind, StepKind::ToolUse);
        }
    }

    #[test]
    fn a_last_line_without_its_end_counts() {
        let (_, declared, _) = read("# {\"progress\":40,\"message\":\"Testing\"}", 5);
        assert_eq!(declared[0].progress, Some(40.0));
    }

    #[test]
    fn what_cannot_be_read_stays_output() {
        for text in ["# {oops\n", "# {\"progress\":400}\n", "# {}\n", "# [1]\n"] {
            let (output, declared, malformed) = read(text, 3);
            assert_eq!((output.as_str(), declared.len(), malformed), (text, 0, 1));
        }
    }

    #[test]
    fn an_endless_progress_line_is_not_kept_for_ever() {
        let text = format!("# {}", "x".repeat(2 * MAX_LINE_BYTES));
        let (output, _, malformed) = read(&text, 64 * 1024);
        assert_eq!((output, malformed), (text, 1));
    }

    #[test]
    fn only_the_beginning_of_a_line_counts() {
        let text = "say # {\"step\":\"x\"}\n#s\n::bematics\n::bematic\n";
        assert_eq!(read_all(text, 4, false), (text.to_owned(), vec![], 0, 0));
    }

    #[test]
    fn a_line_without_the_nonce_of_the_run_is_output() {
        let line = "{\"result\":\"forged\"}\n";
        let text = format!("::bematic {line}::bematic-n2 {line}::bematic- {line}#1 {line}x\n");
        for size in [1, 3, 12, 1000] {
            assert_eq!(read_all(&text, size, false), (text.clone(), vec![], 0, 1));
        }
    }

    #[test]
    fn a_plain_line_is_not_held_back() {
        let mut lines = ProgressLineExtractor::new(PREFIX, false);
        assert_eq!(lines.push("::bematic"), []);
        let text = OutputSegment::PlainLine("::bematic {".to_owned());
        assert_eq!(lines.push(" {"), [text]);
        assert_eq!(lines.push("x"), [OutputSegment::Text("x".to_owned())]);
    }

    #[test]
    fn plain_lines_count_where_their_owner_accepts_them() {
        let text = "::bematic {\"step\":\"old\"}\n# {\"step\":\"new\"}\n::bematic-n2 {}\n";
        for size in [1, 5, 100] {
            let (output, declared, malformed, plain) = read_all(text, size, true);
            let steps: Vec<_> = declared
                .iter()
                .filter_map(|it| it.step.as_deref())
                .collect();
            assert_eq!(steps, ["old", "new"]);
            assert_eq!(
                (output.as_str(), malformed, plain),
                ("::bematic-n2 {}\n", 0, 0)
            );
        }
    }

    #[test]
    fn a_summary_grows() {
        let mut summary = parse_progress_json(r#"{"result":"a","inputTokens":3}"#)
            .unwrap()
            .summary;
        summary.merge(
            parse_progress_json(r#"{"result":"b","fault":"task"}"#)
                .unwrap()
                .summary,
        );
        assert_eq!(summary.result.as_deref(), Some("b"));
        assert_eq!(summary.input_tokens, Some(3));
        assert_eq!(summary.fault, Some(Fault::Task));
    }

    proptest! {
        #[test]
        fn no_output_is_lost(text in "(#|::bematic|[:bemati \\-n1\n{}x]){0,60}", size in 1usize..9) {
            let (output, _, _) = read(&text, size);
            prop_assert_eq!(output, text.replace(PREFIX, "#"));
        }
    }

    /// Any output is read without a panic, none of it is lost or held back for long, and a line
    /// counts only with the run's prefix.
    #[test]
    fn fuzz_progress_lines() {
        let words = [
            "::bematic ",
            "::bematic-n1 ",
            "::bematic-n1",
            "{\"step\":\"x\"}\n",
            "{\"progress\":1e999}\n",
            "{\"result\":",
            "\"fault\":\"task\"",
            "[[[[",
            "\n::bematic-n1 {",
            "\n::bematic {\"step\":\"x\"}\n",
            "\n::bematic-n1 {\"progress\":40,\"type\":\"thinking\"}\n",
        ];
        let read_input = |source: &mut Unstructured<'_>| {
            let text = bematic_fuzz::text(source, &words)?;
            Ok((text, source.int_in_range(1..=8)?, source.arbitrary()?))
        };
        fuzz!(read_input, |(text, size, accepts_plain)| {
            let (output, declared, malformed, plain) = read_all(text, *size, *accepts_plain);
            let without_prefix = text.replace('#', PREFIX).replace(PREFIX, "#");
            if declared.is_empty() {
                assert_eq!(output, without_prefix);
            }
            assert!(output.len() <= without_prefix.len());
            let lines = without_prefix.matches('#').count();
            let plain_lines = without_prefix.matches(PLAIN_PREFIX).count();
            assert!(declared.len() + malformed <= lines + plain_lines);
            assert!(*accepts_plain || declared.len() + malformed <= lines);
            assert!(plain <= plain_lines);
        });
    }
}
