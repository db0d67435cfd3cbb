//! Cuts a formula into words, numbers, texts and marks, each with its place.

use std::ops::Range;

use super::TEXT_BYTES_MAX;
use super::error::{FormulaError, Problem};

/// Marks, longer ones first.
const MARKS: [&str; 14] = ["<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "^", "(", ")", ","];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Number(f64),
    /// A name or one of `and`, `or`, `not`.
    Word(&'a str),
    /// Without quotes, escapes resolved.
    Text(String),
    Mark(&'static str),
    End,
}

impl Token<'_> {
    /// As messages say it.
    pub(super) fn found(&self) -> String {
        match self {
            Self::Number(number) => format!("the number {number}"),
            Self::Word(word) => format!("`{word}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::Mark(mark) => format!("`{mark}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// All tokens; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token<'_>, Range<usize>)>, FormulaError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &text[at..];
        let (token, bytes) = if first.is_ascii_digit() {
            number(text, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let bytes = run(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            (Token::Word(&rest[..bytes]), bytes)
        } else if first == '"' {
            quoted(text, at)?
        } else if let Some(mark) = MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
            (Token::Mark(mark), mark.len())
        } else {
            let problem = Problem::Character { found: first, instead: instead(first) };
            return Err(FormulaError::new(problem, text, at..at + first.len_utf8()));
        };
        found.push((token, at..at + bytes));
        at += bytes;
    }
    found.push((Token::End, at..at));
    Ok(found)
}

/// What other languages mean by it.
fn instead(found: char) -> Option<&'static str> {
    Some(match found {
        '=' => "`==`",
        '&' => "`and`",
        '|' => "`or`",
        '!' => "`not` or `!=`",
        '?' | ':' => "`if(condition, a, b)`",
        '\'' | '“' | '”' => "texts in double quotes",
        '.' => "a digit before the point, as in `0.5`",
        _ => return None,
    })
}

/// Bytes at the start that are `of` the sort.
fn run(text: &str, of: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !of(byte)).unwrap_or(text.len())
}

/// Digits, perhaps a point and digits, perhaps an exponent.
fn number(text: &str, start: usize) -> Result<(Token<'_>, usize), FormulaError> {
    let rest = &text[start..];
    let digits = |from: usize| run(&rest[from..], |byte| byte.is_ascii_digit());
    let mut end = digits(0);
    if rest[end..].starts_with('.') {
        let fraction = digits(end + 1);
        end += 1 + fraction;
        if fraction == 0 {
            let problem = Problem::Expected { expected: "a digit after the point", found: "none".to_owned() };
            return Err(FormulaError::new(problem, text, start..start + end));
        }
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        end += 1 + sign + exponent;
        if exponent == 0 {
            let problem = Problem::Expected { expected: "a digit in the exponent", found: "none".to_owned() };
            return Err(FormulaError::new(problem, text, start..start + end));
        }
    }
    // Digits of this form always parse; what is too large becomes infinite.
    match rest[..end].parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value), end)),
        _ => Err(FormulaError::new(Problem::Number, text, start..start + end)),
    }
}

/// A text in double quotes, in which a backslash stands before a quote or a backslash.
fn quoted(text: &str, start: usize) -> Result<(Token<'_>, usize), FormulaError> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, character) in text[start..].char_indices().skip(1) {
        match character {
            _ if character.is_control() => break,
            '\\' if !escaped => escaped = true,
            '"' if !escaped => {
                let whole = start..start + at + 1;
                return match value.len() {
                    ..=TEXT_BYTES_MAX => Ok((Token::Text(value), at + 1)),
                    _ => Err(FormulaError::new(Problem::LongText, text, whole)),
                };
            }
            _ if escaped && !['"', '\\'].contains(&character) => {
                let problem = Problem::Character { found: '\\', instead: Some("`\\\\` for a backslash in a text") };
                return Err(FormulaError::new(problem, text, start + at - 1..start + at));
            }
            _ => {
                escaped = false;
                value.push(character);
            }
        }
    }
    Err(FormulaError::new(Problem::OpenText, text, start..start + 1))
}
