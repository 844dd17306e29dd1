//! Characters that show as nothing or change how other text is shown. With them a text can look
//! like another one, or hide a message in itself, so Slack gets none of them, whoever wrote the
//! text.
//!
//! They are the control characters and Unicode's Default_Ignorable_Code_Point, which has the marks
//! of direction, the zero-width characters and the tags (DerivedCoreProperties.txt, Unicode 17).
//! Two kinds of the latter are part of correct text, and stay where they are:
//!
//! - The joiners U+200C and U+200D within scripts that use them, such as Persian and Hindi, and
//!   within emoji (UAX #31, section 2.3, "Layout and Format Control Characters"; UTS #51, ED-16).
//! - One variation selector after a character (UTS #51, ED-8a and ED-9a; UTS #37).
//!
//! The flags of England, Scotland and Wales are spelled in tags, which can spell any other text as
//! well: they become a black flag.

use std::borrow::Cow;

/// Returns the text without the characters that are not seen. Line breaks and tabs stay.
pub(super) fn remove_invisible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let before = out.chars().next_back();
        let is_kept = match c {
            '\u{200c}' | '\u{200d}' => is_join(before, chars.peek().copied()),
            c if is_variation_selector(c) => before.is_some_and(is_base),
            c => !is_invisible(c),
        };
        if is_kept {
            out.push(c);
        }
    }
    out.into()
}

fn is_invisible(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control(),
    }
}

const fn is_variation_selector(c: char) -> bool {
    matches!(
        c,
        '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Whether a variation selector may follow: after another one it could only hide something.
fn is_base(c: char) -> bool {
    !c.is_whitespace() && !is_invisible(c)
}

/// Whether a joiner between these characters belongs to the text: it is between two that are seen,
/// at least one of them of a script that uses joiners, or an emoji.
fn is_join(before: Option<char>, after: Option<char>) -> bool {
    let is_before = |c: char| is_base(c) || is_variation_selector(c);
    match (before, after) {
        (Some(before), Some(after)) => {
            is_before(before) && is_base(after) && (uses_joiners(before) || uses_joiners(after))
        }
        _ => false,
    }
}

/// Whether a character is of a script that uses joiners, or may be in an emoji. The blocks are
/// those of the scripts from Arabic to Sinhala and of South East Asia, and of symbols.
const fn uses_joiners(c: char) -> bool {
    matches!(
        c,
        '\u{600}'..='\u{dff}'
            | '\u{f00}'..='\u{109f}'
            | '\u{1700}'..='\u{1cff}'
            | '\u{2190}'..='\u{2bff}'
            | '\u{a800}'..='\u{abff}'
            | '\u{fb50}'..='\u{fdff}'
            | '\u{fe0f}'
            | '\u{fe70}'..='\u{fefc}'
            | '\u{10a00}'..='\u{11fff}'
            | '\u{1e900}'..='\u{1eeff}'
            | '\u{1f000}'..='\u{1faff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_removed() {
        for (text, shown) in [
            ("a\u{202e}b\u{2066}c\u{2069}", "abc"),
            ("\u{200e}a\u{200f}\u{61c}", "a"),
            ("pay\u{200b}pal\u{2060}\u{feff}", "paypal"),
            ("a\u{200d}b", "ab"),
            ("б\u{200c}в", "бв"),
            ("ی\u{200c}\u{200c} ", "ی "),
            ("a\u{0}\u{7}\u{85}\u{1b}b", "ab"),
            ("\u{e0041}\u{e0042}x\u{e007f}", "x"),
            ("x\u{fe01}\u{fe02}\u{fe0f}\u{e0101}", "x\u{fe01}"),
            (" \u{fe0f}", " "),
            ("\u{3164}\u{115f}\u{ad}", ""),
            ("🏴\u{e0067}\u{e0062}\u{e0065}\u{e007f}", "🏴"),
        ] {
            assert_eq!(remove_invisible(text), shown, "{text:?}");
        }
    }

    #[test]
    fn emoji_and_scripts_that_need_joiners_stay_whole() {
        for text in [
            "line\n\ttab",
            "👩\u{200d}👩\u{200d}👧\u{200d}👦",
            "🏳\u{fe0f}\u{200d}🌈",
            "👩🏽\u{200d}💻",
            "❤\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "می\u{200c}خواهم",
            "PDF\u{200c}ها",
            "क्\u{200d}ष",
            "ශ්\u{200d}රී",
            "র\u{200d}্য",
            "葛\u{e0100}",
            "ᠠ\u{180b}",
        ] {
            assert_eq!(remove_invisible(text), text, "{text:?}");
        }
    }
}
