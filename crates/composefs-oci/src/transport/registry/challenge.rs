//! `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! # Format
//! RFC 9110, section 11.6.1; `docs/formats/transports.md`, section 3.

use http_auth::{ChallengeParser, ChallengeRef};

/// The longest header that is looked at, in bytes.
const HEADER_MAX: usize = 16 * 1024;
/// The most challenges that are looked at.
const CHALLENGES_MAX: usize = 32;
/// The most scopes that are asked for.
const SCOPES_MAX: usize = 64;

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token from somewhere.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what, such as `repository:library/debian:pull`.
        scopes: Vec<String>,
    },
    /// User name and password with each request.
    Basic,
}

/// Returns the best challenge of the headers' values: the first Bearer, else Basic.
///
/// What cannot be parsed and schemes that nobody uses are passed over.
pub fn best<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        let Some(text) = std::str::from_utf8(header).ok().filter(|text| text.len() <= HEADER_MAX) else {
            continue;
        };
        // After an error the parser ends; what came before it counts.
        for challenge in ChallengeParser::new(text).take(CHALLENGES_MAX).flatten() {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(bearer) = bearer(&challenge) {
                    return Some(bearer);
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

fn bearer(challenge: &ChallengeRef<'_>) -> Option<Challenge> {
    let all = |name: &str| {
        let named = challenge.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.to_unescaped()).collect::<Vec<_>>()
    };
    let realm = all("realm").into_iter().next()?;
    let scopes = all("scope");
    let mut unique: Vec<String> = Vec::new();
    for scope in scopes.iter().flat_map(|scopes| scopes.split_ascii_whitespace()).take(SCOPES_MAX) {
        if !unique.iter().any(|have| have == scope) {
            unique.push(scope.to_owned());
        }
    }
    Some(Challenge::Bearer { realm, service: all("service").into_iter().next(), scopes: unique })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(headers: &[&str]) -> Option<Challenge> {
        best(headers.iter().map(|header| header.as_bytes()))
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        })
    }

    #[test]
    fn as_registries_say_it() {
        assert_eq!(
            parse(&[
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#
            ]),
            bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                &["repository:library/debian:pull"]
            )
        );
        assert_eq!(
            parse(&[
                r#"bearer Realm="https://x/t", Scope="repository:a:pull,push  repository:b:pull repository:b:pull", error="insufficient_scope""#
            ]),
            bearer("https://x/t", None, &["repository:a:pull,push", "repository:b:pull"])
        );
        assert_eq!(parse(&[r#"Basic realm="Registry""#]), Some(Challenge::Basic));
    }

    #[test]
    fn the_best_of_several() {
        let expected = bearer("https://x/t", Some("s"), &[]);
        assert_eq!(
            parse(&[r#"Negotiate, Basic realm="a, Bearer b", Bearer realm="https://x/t",service="s""#]),
            expected
        );
        assert_eq!(parse(&[r#"Basic realm="a""#, r#"Bearer realm="https://x/t",service=s"#]), expected);
        assert_eq!(parse(&[r#"Basic realm="a", Bearer service="without a realm""#]), Some(Challenge::Basic));
        assert_eq!(parse(&[r#"Digest realm="a",nonce="b""#, "\u{7f}\u{0}", "", ","]), None);
        assert_eq!(parse(&[]), None);
    }
}
