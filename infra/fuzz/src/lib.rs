//! Fuzzing as plain tests: [`fuzz`] runs a test on generated input for some seconds, which a
//! failure shrinks. It needs neither a nightly compiler nor a program of its own: the input is made
//! of what means something to the parser under test, by proptest, which the tests use anyway.
//!
//! `BEMATIC_FUZZ_SECONDS` sets the time of each target: a developer's run takes half a second, CI
//! 20 s.

use std::{
    env,
    fmt::Debug,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseResult, TestRunner},
};
use serde_json::{Value, json};

/// The variable that sets the time of each target, in seconds.
const SECONDS: &str = "BEMATIC_FUZZ_SECONDS";
const DEFAULT_SECONDS: f64 = 0.5;

/// Runs `test` on inputs of `strategy` until its time is over.
///
/// # Panics
/// With the smallest input that was found, if the test fails.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of the target is over by the machine's clock"
)]
pub fn fuzz<S: Strategy>(strategy: &S, test: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    /// The number of cases between two looks at the clock.
    const CASES: u32 = 16;
    let until = Instant::now() + budget();
    loop {
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 10_000,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(strategy, &test);
        assert!(
            outcome.is_ok(),
            "{}",
            outcome.err().map_or_else(String::new, |it| it.to_string())
        );
        if Instant::now() >= until {
            return;
        }
    }
}

fn budget() -> Duration {
    let seconds = env::var(SECONDS).ok().and_then(|it| it.parse().ok());
    Duration::try_from_secs_f64(seconds.unwrap_or(DEFAULT_SECONDS)).unwrap_or_default()
}

/// Generates texts of up to some 200 characters: of what means something to a parser, a terminal,
/// Slack or Markdown, of any other characters, and of these `words`.
pub fn text(words: &[&str]) -> impl Strategy<Value = String> + use<> {
    let mut known: Vec<String> = [
        "",
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "\\",
        "\"",
        "'",
        "`",
        "```",
        "*",
        "_",
        "~~",
        "<",
        ">",
        "&",
        "|",
        "#",
        "@",
        "-",
        "--",
        "[",
        "](",
        ")",
        "{",
        "}",
        ":",
        ",",
        "=",
        "%",
        "%00",
        "+",
        "1",
        "-1",
        "1e999",
        "<@U1>",
        "<!channel>",
        "<https://x.io|x>",
        "https://x.io",
        "\u{1b}[31m",
        "\u{202e}",
        "\u{200d}",
        "\u{feff}",
        "\u{2028}",
        "🦀",
        "é",
        "null",
        "true",
        "\\ud800",
        "\\u0000",
    ]
    .map(str::to_owned)
    .into();
    known.extend(words.iter().map(|word| (*word).to_owned()));
    let part = prop_oneof![
        4 => select(known),
        2 => "[a-z0-9 ]{0,6}",
        1 => "\\PC{0,4}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop_oneof![
        8 => vec(part.clone(), 0..16).prop_map(|parts| parts.concat()),
        1 => (part, 0_usize..3000).prop_map(|(part, times)| part.repeat(times)),
    ]
}

/// Generates texts that are nearly JSON objects like the `examples`: some values are replaced, some
/// are removed, and now and then a character of the text is replaced. The values are made of
/// `words`, too.
pub fn json_like(examples: Vec<Value>, words: &[&str]) -> impl Strategy<Value = String> + use<> {
    let value = prop_oneof![
        select(vec![
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(u64::MAX),
            json!(1e300),
            json!([]),
            json!({}),
            json!([[]]),
            json!([{"a": [null]}]),
            json!(""),
            json!({"type": "x", "id": {}}),
        ]),
        text(words).prop_map(Value::from),
    ];
    let changes = vec(
        (any::<Index>(), proptest::option::weighted(0.8, value)),
        0..4,
    );
    let damage = prop_oneof![
        8 => Just(None),
        1 => (any::<Index>(), text(&[])).prop_map(Some),
    ];
    (select(examples), changes, damage).prop_map(|(mut example, changes, damage)| {
        for (at, value) in changes {
            let mut nodes = count_nodes(&example);
            nodes = at.index(nodes);
            replace_node(&mut example, &mut nodes, value.as_ref());
        }
        let json = example.to_string();
        match damage {
            None => json,
            Some((at, text)) => {
                let at = json.floor_char_boundary(at.index(json.len()));
                format!(
                    "{}{text}{}",
                    &json[..at],
                    &json[json.ceil_char_boundary(at + 1)..]
                )
            }
        }
    })
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn count_nodes(value: &Value) -> usize {
    1 + children(value).into_iter().map(count_nodes).sum::<usize>()
}

/// Replaces the node with this number, or makes it null if there is no value.
fn replace_node(value: &mut Value, number: &mut usize, by: Option<&Value>) -> bool {
    if *number == 0 {
        *value = by.cloned().unwrap_or_default();
        return true;
    }
    *number -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|it| replace_node(it, number, by)),
        Value::Object(fields) => fields.values_mut().any(|it| replace_node(it, number, by)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_failure_is_found() {
        let failing = std::panic::catch_unwind(|| {
            fuzz(&text(&["needle"]), |text| {
                prop_assert!(!text.contains("needle"));
                Ok(())
            });
        });
        // One of some 60 words: sure to be among a thousand.
        let found = failing.is_err();
        let seen = Cell::new(0);
        fuzz(
            &json_like(vec![json!({ "a": [1, "b"], "c": null })], &[]),
            |_| {
                seen.set(seen.get() + 1);
                Ok(())
            },
        );
        assert!(found && seen.get() > 0);
    }

    #[test]
    fn every_node_can_be_replaced() {
        let example = json!({ "a": [1, 2], "b": { "c": 3 } });
        let changed: Vec<_> = (0..count_nodes(&example))
            .map(|number| {
                let mut changed = example.clone();
                assert!(replace_node(
                    &mut changed,
                    &mut { number },
                    Some(&json!("x"))
                ));
                changed.to_string()
            })
            .collect();
        assert_eq!(
            changed,
            [
                r#""x""#,
                r#"{"a":"x","b":{"c":3}}"#,
                r#"{"a":["x",2],"b":{"c":3}}"#,
                r#"{"a":[1,"x"],"b":{"c":3}}"#,
                r#"{"a":[1,2],"b":"x"}"#,
                r#"{"a":[1,2],"b":{"c":"x"}}"#,
            ]
        );
    }
}
