//! Sizes of text in JSON, cutting text to a size, and text that is safe to print.

use std::fmt::Write;

/// Returns the bytes of `c` inside a JSON string.
const fn escaped_char_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// Returns the bytes of `text` inside a JSON string, without its quotes.
pub(crate) fn escaped_len(text: &str) -> usize {
    text.chars().map(escaped_char_len).sum()
}

/// Returns the longest beginning of `text` that takes at most `budget` bytes in JSON, and the rest.
pub(crate) fn split_escaped(text: &str, budget: usize) -> (&str, &str) {
    let mut used = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        used += escaped_char_len(c);
        (used > budget).then_some(at)
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// Returns `text`, cut to at most `chars` characters, the last of them `…` if anything was cut.
pub(crate) fn shorten(text: &str, chars: usize) -> String {
    if text.chars().nth(chars).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars.saturating_sub(1)).collect();
    kept + "…"
}

/// Returns whether a terminal or an editor may act on `c` instead of showing it: control characters
/// (C0, DEL and C1), line separators, and the formatting characters of the bidirectional algorithm
/// (UAX #9), by which a text can look like another one.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// Returns a line in which every unprintable character is written as `\u` and four hexadecimal
/// digits, as JSON does it: JSON keeps its meaning, and a line stays one line.
pub(crate) fn escape_unprintable(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        if is_unprintable(c) {
            // Writing to a text cannot fail.
            let _written = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Returns `text`, its end cut so that it takes at most `budget` bytes in JSON, with a note if so.
pub(crate) fn fit_escaped(text: &str, budget: usize) -> String {
    const NOTE: &str = "\n\n[… cut here: the whole text is too long for one message]";
    if escaped_len(text) <= budget {
        return text.to_owned();
    }
    let (kept, _) = split_escaped(text, budget.saturating_sub(escaped_len(NOTE)));
    format!("{kept}{NOTE}")
}

/// The last bytes of a text that grows, for a result or an error message.
#[derive(Debug, Default)]
pub(crate) struct Tail<const BYTES: usize>(String);

impl<const BYTES: usize> Tail<BYTES> {
    /// Adds text, and forgets the oldest.
    pub(crate) fn push(&mut self, text: &str) {
        self.0.push_str(text);
        let len = self.0.len();
        // Twice the size, so that the text is moved once for `BYTES` and not with every line.
        if len > 2 * BYTES {
            // One byte more than is returned shows that there was more.
            self.0.drain(..self.0.floor_char_boundary(len - BYTES - 1));
        }
    }

    /// Returns the tail, from the beginning of a line if text was forgotten.
    pub(crate) fn text(&self) -> &str {
        let excess = self.0.len().saturating_sub(BYTES);
        let start = self.0.ceil_char_boundary(excess);
        let kept = self.0.get(start..).unwrap_or_default();
        let whole_lines = match kept.split_once('\n') {
            Some((_, rest)) if start > 0 && !rest.is_empty() => rest,
            _ => kept,
        };
        whole_lines.trim_end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_size_is_what_the_encoder_writes(text in any::<String>()) {
            prop_assert_eq!(escaped_len(&text) + 2, serde_json::to_string(&text).unwrap().len());
        }

        #[test]
        fn a_split_loses_nothing_and_keeps_its_budget(text in any::<String>(), budget in 6usize..64) {
            let (head, rest) = split_escaped(&text, budget);
            prop_assert!(escaped_len(head) <= budget);
            prop_assert!(!head.is_empty() || rest.is_empty());
            prop_assert_eq!(format!("{head}{rest}"), text.clone());
        }

        #[test]
        fn a_fitted_text_fits(text in "\\PC{0,400}") {
            prop_assert!(escaped_len(&fit_escaped(&text, 128)) <= 128);
        }
    }

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        for (text, escaped) in [
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("a\rb\nc\td", "a\\u000db\\u000ac\\u0009d"),
            (
                "\u{7f}\u{80}\u{9b}31m\u{9f}",
                "\\u007f\\u0080\\u009b31m\\u009f",
            ),
            ("\u{202e}txt\u{2066}", "\\u202etxt\\u2066"),
            ("Grüße, 你好 👩‍💻 é", "Grüße, 你好 👩‍💻 é"),
        ] {
            assert_eq!(escape_unprintable(text), escaped);
        }
    }

    #[test]
    fn a_tail_starts_with_a_whole_line() {
        let mut tail = Tail::<10>::default();
        for line in 0..100 {
            tail.push(&format!("line {line}\n"));
        }
        assert_eq!(tail.text(), "line 99");
    }

    #[test]
    fn a_short_tail_is_everything() {
        let mut tail = Tail::<100>::default();
        tail.push("one\ntwo\n");
        assert_eq!(tail.text(), "one\ntwo");
    }

    #[test]
    fn a_cut_is_visible() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
    }
}
