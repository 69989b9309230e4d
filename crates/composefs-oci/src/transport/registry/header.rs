//! Headers of a registry's answers that say how to go on, as text to values. Whether a value fits what was asked is for
//! who asked.
//!
//! # Format
//! RFC 9110, sections 10.2.3 and 14.4; RFC 8288; OCI distribution-spec, uploads in chunks.

use std::time::{Duration, SystemTime};

/// What `Content-Range` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContentRange {
    /// The first and the last byte; the first is never behind the last.
    pub range: Option<(u64, u64)>,
    /// The size of all, in bytes; more than the last byte's number.
    pub total: Option<u64>,
}

/// Reads `Content-Range`; `None` if it says nothing about bytes, or nothing that can be.
#[must_use]
pub fn content_range(value: &str) -> Option<ContentRange> {
    let (range, total) = value.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    let range = match range.trim() {
        "*" => None,
        range => {
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || total.is_some_and(|total| last >= total) {
                return None;
            }
            Some((first, last))
        }
    };
    Some(ContentRange { range, total })
}

/// Reads the `Range` of an upload: how many bytes the registry has.
#[must_use]
pub fn uploaded(value: &str) -> Option<u64> {
    let (_, last) = value.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    // `0-0` is what some say when they have nothing.
    Some(if last == 0 { 0 } else { last.saturating_add(1) })
}

/// Reads `Retry-After`: seconds, or a date, of which what is past is no time.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns where `Link` says that the next page is, as it is written. Time is linear in the value.
#[must_use]
pub fn next_page(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, tail)) = rest.split_once('<') {
        let (target, tail) = tail.split_once('>')?;
        let (parameters, more) = tail.split_at(end_of_link(tail));
        let is_next = parameters.split(';').any(|parameter| {
            parameter.trim().split_once('=').is_some_and(|(name, value)| {
                let value = value.trim().trim_matches('"');
                name.trim().eq_ignore_ascii_case("rel")
                    && value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(target.trim());
        }
        rest = more;
    }
    None
}

/// Finds the comma, outside of quotes, behind which the next link begins.
fn end_of_link(tail: &str) -> usize {
    let mut quoted = false;
    for (at, byte) in tail.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    tail.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let read = |value| content_range(value).map(|ContentRange { range, total }| (range, total));
        assert_eq!(read("bytes 0-9/10"), Some((Some((0, 9)), Some(10))));
        assert_eq!(read("bytes 5-9/*"), Some((Some((5, 9)), None)));
        assert_eq!(read("bytes */10"), Some((None, Some(10))));
        for bad in ["", "bytes", "bytes 0-9", "bytes 9-0/10", "bytes 0-10/10", "bytes -1-2/3", "items 0-1/2"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn uploads() {
        assert_eq!(uploaded("0-0"), Some(0));
        assert_eq!(uploaded("bytes=0-99"), Some(100));
        assert_eq!(uploaded("0-18446744073709551615"), Some(u64::MAX));
        for bad in ["", "0", "-", "0-x", "0--1"] {
            assert_eq!(uploaded(bad), None, "{bad}");
        }
    }

    #[test]
    fn seconds_and_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn links() {
        assert_eq!(
            next_page(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next_page(r#"<x>; rel=prev, <y,z>; title="a, <b>"; rel="last next""#), Some("y,z"));
        assert_eq!(next_page("<x>; rel=prev"), None);
        for odd in ["", "<", "<x", "<x>", "x; rel=next", "<x>; rel"] {
            assert_eq!(next_page(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_long_list_of_links_takes_no_time() {
        let value = "<a>, ".repeat(200_000) + "<b>; rel=next";
        assert_eq!(next_page(&value), Some("b"));
    }
}
