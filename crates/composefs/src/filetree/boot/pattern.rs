//! What an expression matches at least: so that most need no regular expression, and the others are tried rarely.

use regex_automata::util::syntax;

use super::{SpecFault, pcre};

/// How paths that match are found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// This path only.
    Literal(Vec<u8>),
    /// This path, and all below it.
    Subtree(Vec<u8>),
    /// Some of the paths that begin with these bytes, which are empty or end in a slash.
    Regex(Vec<u8>),
}

/// The dialect: `.` is any byte, classes are of bytes.
pub(super) fn dialect() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true)
}

/// Returns the expression for a path with its type's letter behind it.
///
/// # Errors
/// [`SpecFault::Regex`] if it is none in either dialect.
pub(super) fn whole(regex: &str, kind: Option<u8>) -> Result<String, SpecFault> {
    let kind = char::from(kind.unwrap_or(b'.'));
    let whole = format!("^({regex}){kind}$");
    let Err(error) = syntax::parse_with(&whole, &dialect()) else { return Ok(whole) };
    let bad = |reason: String| SpecFault::Regex { regex: regex.to_owned(), reason };
    let last =
        |text: String| text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let Some(whole) = pcre::translate(&whole) else { return Err(bad(last(error.to_string()))) };
    match syntax::parse_with(&whole, &dialect()) {
        Ok(_) => Ok(whole),
        Err(error) => Err(bad(last(error.to_string()))),
    }
}

/// Finds the shape of a valid expression; [`Shape::Regex`] with nothing is right for all.
pub(super) fn shape(regex: &str) -> Shape {
    let mut literal = String::new();
    let mut rest = regex;
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            None => return Shape::Literal(literal.into_bytes()),
            Some('\\') => match characters.next() {
                Some(escaped) if escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>') => {
                    literal.push(escaped);
                }
                _ => break,
            },
            Some('.' | '^' | '$' | '|' | '(' | ')' | '[' | '*' | '+' | '?' | '{') => break,
            Some(other) => literal.push(other),
        }
        rest = characters.as_str();
    }
    if rest == "(/.*)?" {
        return Shape::Subtree(literal.into_bytes());
    }
    if !every_match_begins_alike(rest) {
        return Shape::Regex(Vec::new());
    }
    if rest.starts_with(['*', '+', '?', '{']) {
        literal.pop();
    }
    let end = literal.rfind('/').map_or(0, |slash| slash.saturating_add(1));
    literal.truncate(end);
    Shape::Regex(literal.into_bytes())
}

/// Tells whether what stands before `rest` is there in every match: no alternative outside of groups.
///
/// Classes are not parsed: with one, any bar is taken for such an alternative.
fn every_match_begins_alike(rest: &str) -> bool {
    let mut depth = 0_usize;
    let mut escaped = false;
    let class = rest.contains('[');
    for byte in rest.bytes() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match byte {
            b'\\' => escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            b'|' if depth == 0 || class => return false,
            _ => {}
        }
    }
    true
}
