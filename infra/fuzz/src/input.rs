//! Inputs that mean something to parsers.

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

/// What means something to a parser, a terminal, Slack or Markdown.
const KNOWN: [&str; 51] = [
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
];

/// Reads a text of up to some 100 characters: of what means something to a parser, a terminal, Slack or
/// Markdown, of any other characters, and of these `words`. Now and then it is one part, up to 3 000 times.
pub fn text(source: &mut Unstructured<'_>, words: &[&str]) -> Result<String> {
    let count = source.int_in_range(0..=17)?;
    if count > 15 {
        let part = part(source, words)?;
        return Ok(part.repeat(source.int_in_range(0..=3000)?));
    }
    (0..count).map(|_| part(source, words)).collect()
}

fn part(source: &mut Unstructured<'_>, words: &[&str]) -> Result<String> {
    Ok(match source.int_in_range(0..=7)? {
        0..=4 => {
            let index = source.choose_index(KNOWN.len() + words.len())?;
            let word = KNOWN.iter().chain(words).nth(index);
            word.copied().unwrap_or_default().to_owned()
        }
        5 | 6 => {
            let count = source.int_in_range(0..=6)?;
            let letters = b"abcdefghijklmnopqrstuvwxyz0123456789 ";
            (0..count)
                .map(|_| source.choose(letters).map(|letter| char::from(*letter)))
                .collect::<Result<_>>()?
        }
        _ => source.arbitrary::<char>()?.to_string(),
    })
}

/// Reads a text that is nearly a JSON object like one of the `examples`: some values are replaced, mostly by
/// others of their type, and now and then a character of the text is. The values are made of `words`, too.
pub fn json_like(
    source: &mut Unstructured<'_>,
    examples: &[Value],
    words: &[&str],
) -> Result<String> {
    let mut example = source.choose(examples)?.clone();
    for _ in 0..source.int_in_range(0..=4)? {
        let mut number = source.choose_index(count_nodes(&example))?;
        if let Some(node) = find_node(&mut example, &mut number) {
            *node = read_other(source, node, words)?;
        }
    }
    let json = example.to_string();
    if source.int_in_range(0..=8)? < 8 {
        return Ok(json);
    }
    let at = source.choose_index(json.len())?;
    let (before, after) = (
        &json[..json.floor_char_boundary(at)],
        &json[json.ceil_char_boundary(at + 1)..],
    );
    Ok(format!("{before}{}{after}", text(source, &[])?))
}

/// Reads what replaces a value.
fn read_other(source: &mut Unstructured<'_>, value: &Value, words: &[&str]) -> Result<Value> {
    let odd = [
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
    ];
    Ok(match (source.int_in_range(0..=5)?, value) {
        (0, _) => Value::Null,
        (1.., Value::String(_)) | (1, _) => text(source, words)?.into(),
        (2.., Value::Bool(_)) => source.arbitrary::<bool>()?.into(),
        (3.., Value::Number(_)) => source.arbitrary::<i8>()?.into(),
        _ => source.choose(&odd)?.clone(),
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

/// Returns the node with this number, which is counted down.
fn find_node<'a>(value: &'a mut Value, number: &mut usize) -> Option<&'a mut Value> {
    if *number == 0 {
        return Some(value);
    }
    *number -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|it| find_node(it, number)),
        Value::Object(fields) => fields.values_mut().find_map(|it| find_node(it, number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_can_be_replaced() {
        let example = json!({ "a": [1, 2], "b": { "c": 3 } });
        let changed: Vec<_> = (0..count_nodes(&example))
            .map(|number| {
                let mut changed = example.clone();
                *find_node(&mut changed, &mut { number }).unwrap() = json!("x");
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

    #[test]
    fn an_input_without_bytes_is_the_simplest() {
        let mut empty = Unstructured::new(&[]);
        assert_eq!(text(&mut empty, &[]).unwrap(), "");
        let examples = [json!({ "a": 1 }), json!(2)];
        let json = json_like(&mut empty, &examples, &[]).unwrap();
        assert_eq!(json, r#"{"a":1}"#);
    }
}
