//! The words of an expression.

use super::Fault;

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword, `#name` or `:value`.
    Word(String),
    /// A comparison, a parenthesis, a comma, a dot, a sign.
    Sign(&'static str),
}

/// Longest first.
const SIGNS: [&str; 12] = [
    "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", ".", "+", "-",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '#' | ':');
        if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(Fault::new(format!(
                "`{first}` is not understood in `{text}`"
            )));
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}
