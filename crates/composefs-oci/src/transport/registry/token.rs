//! Who we are to a registry: tokens by scope until they age, or user and password.
//!
//! Credentials go to the registry and to the place for tokens that it names, over TLS unless the registry is an
//! insecure one.
//!
//! # Format
//! `docs/formats/transports.md`, section 3.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::sync::{Mutex, OnceCell};

use crate::credentials::{Credentials, Keychain, Secret};

use super::{
    challenge::Challenge,
    fault::{Asked, Failure, Fault, Sent, Subject, read_bounded},
    redirect::{Call, Payload, Web, host_and_port},
};

/// The largest answer with a token, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// How long a token lives that does not say.
const LIFE_DEFAULT: Duration = Duration::from_secs(60);
/// The longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// What this program calls itself where it exchanges a refresh token.
const CLIENT_ID: &str = "composefs";

/// What a request is for, as far as it needs other rights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Being known, without rights to anything.
    Login,
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Writing, with blobs out of another repository of the registry.
    Mount(String),
}

impl Purpose {
    /// Returns the scopes to ask for beside those of the challenge.
    fn scopes(&self, repository: &str, challenged: &[String]) -> Vec<String> {
        let mut scopes = challenged.to_vec();
        if scopes.is_empty() && *self != Self::Login {
            let actions = if *self == Self::Pull { "pull" } else { "pull,push" };
            scopes.push(format!("repository:{repository}:{actions}"));
        }
        if let Self::Mount(from) = self {
            let scope = format!("repository:{from}:pull");
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }
}

/// What is known of how a registry wants to be asked.
#[derive(Debug)]
pub(super) struct Auth {
    keychain: Keychain,
    /// Registry and repository, by which credentials are looked up.
    name: String,
    repository: String,
    login: OnceCell<Option<Credentials>>,
    /// One request for a token at a time: the others then have it, too.
    states: Mutex<HashMap<Purpose, State>>,
}

#[derive(Debug)]
struct State {
    challenge: Challenge,
    header: HeaderValue,
    /// From when on it is not used any more.
    ends: Option<Instant>,
    /// How often it was handed out.
    handed: u64,
}

impl State {
    fn is_fresh(&self) -> bool {
        self.ends.is_none_or(|ends| Instant::now() < ends)
    }

    fn hand_out(&mut self) -> HeaderValue {
        self.handed = self.handed.saturating_add(1);
        self.header.clone()
    }
}

impl Auth {
    pub(super) fn new(keychain: Keychain, name: &str, repository: &str) -> Self {
        Self {
            keychain,
            name: name.to_owned(),
            repository: repository.to_owned(),
            login: OnceCell::new(),
            states: Mutex::new(HashMap::new()),
        }
    }

    /// Returns the credentials that were found.
    pub(super) fn sent(&self) -> Sent<'_> {
        let login = self.login.get().and_then(Option::as_ref);
        Sent { login, by_hand: self.keychain.is_by_hand(), header: None }
    }

    /// Returns the header to begin with: none before the registry has asked for one.
    /// `base` is where the registry answers.
    pub(super) async fn header(
        &self,
        web: &Web,
        base: &Url,
        purpose: &Purpose,
    ) -> Result<Option<HeaderValue>, Failure> {
        let mut states = self.states.lock().await;
        let Some(state) = states.get_mut(purpose) else { return Ok(None) };
        if state.is_fresh() {
            return Ok(Some(state.hand_out()));
        }
        let challenge = state.challenge.clone();
        let mut state = self.obtain(web, base, purpose, challenge).await?;
        let header = state.as_mut().map(State::hand_out);
        match state {
            Some(state) => states.insert(purpose.clone(), state),
            None => states.remove(purpose),
        };
        Ok(header)
    }

    /// Returns the header that answers a challenge; `None` if there is none, or only what was `used` in vain.
    pub(super) async fn answer(
        &self,
        web: &Web,
        base: &Url,
        purpose: &Purpose,
        challenge: Option<Challenge>,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let mut states = self.states.lock().await;
        // Another request may have got a new one meanwhile.
        if let Some(state) = states.get_mut(purpose)
            && state.is_fresh()
            && Some(&state.header) != used
        {
            return Ok(Some(state.hand_out()));
        }
        let Some(challenge) = challenge else { return Ok(None) };
        let state = self.obtain(web, base, purpose, challenge).await?;
        let Some(mut state) = state.filter(|state| Some(&state.header) != used) else { return Ok(None) };
        let header = state.hand_out();
        states.insert(purpose.clone(), state);
        Ok(Some(header))
    }

    /// Tells whether others had a header, too, or have a newer one: a token may be good for few requests, or short a
    /// time, and what is refused though it is nobody else's is no good.
    pub(super) async fn is_shared(&self, purpose: &Purpose, used: Option<&HeaderValue>) -> bool {
        let states = self.states.lock().await;
        states.get(purpose).is_some_and(|state| state.handed > 1 || Some(&state.header) != used)
    }

    async fn login(&self) -> Result<Option<&Credentials>, Failure> {
        let found = self.login.get_or_try_init(|| async {
            let (keychain, name) = (self.keychain.clone(), self.name.clone());
            // A helper program may take its time.
            let work = tokio::task::spawn_blocking(move || keychain.lookup(&name));
            match work.await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(Box::new(error) as super::fault::Cause),
                Err(error) => Err(Box::new(error) as super::fault::Cause),
            }
        });
        let found = found.await.map_err(|source| {
            let host = self.name.split('/').next().unwrap_or_default().to_owned();
            let subject = self.subject(&host);
            Failure::fatal(subject.error(Fault::Credentials { host: host.clone(), source }))
        })?;
        Ok(found.as_ref())
    }

    fn subject<'a>(&'a self, host: &'a str) -> Subject<'a> {
        Subject { asked: &Asked::Token, name: &self.name, host, sent: self.sent() }
    }

    async fn obtain(
        &self,
        web: &Web,
        base: &Url,
        purpose: &Purpose,
        challenge: Challenge,
    ) -> Result<Option<State>, Failure> {
        let login = self.login().await?;
        let Challenge::Bearer { realm, service, scopes } = &challenge else {
            let Some(secret) = login.and_then(Credentials::authorization) else { return Ok(None) };
            let Some(header) = header_of(&secret) else { return Ok(None) };
            return Ok(Some(State { challenge, header, ends: None, handed: 0 }));
        };
        let scopes = purpose.scopes(&self.repository, scopes);
        let begin = Instant::now();
        let (header, life) = self.fetch(web, base, realm, service.as_deref(), &scopes, login).await?;
        // A tenth of its life is for the way and for clocks.
        let ends = begin.checked_add(life.mul_f64(0.9));
        Ok(Some(State { challenge, header, ends, handed: 0 }))
    }

    /// Gets a token from the place that the registry named.
    async fn fetch(
        &self,
        web: &Web,
        base: &Url,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        login: Option<&Credentials>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let registry = self.name.split('/').next().unwrap_or_default();
        let mut url =
            realm_at(web.insecure, base, realm).map_err(|reason| self.subject(registry).senseless(reason))?;
        let host = host_and_port(&url);
        // The client certificate is for the registry's host alone.
        let web = if url.host() == base.host() { web } else { &web.nobodys() };
        let mut headers = HeaderMap::new();
        let (mut authorization, mut payload) = (None, None);
        if let Some(Credentials::IdentityToken(token)) = login {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            payload = Some(exchange(token, service, scopes));
        } else {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scopes {
                query.append_pair("scope", scope);
            }
            drop(query);
            authorization = login.and_then(Credentials::authorization).as_ref().and_then(header_of);
        }
        let call = Call {
            asked: &Asked::Token,
            name: &self.name,
            method: if payload.is_some() { Method::POST } else { Method::GET },
            url,
            headers,
            authorization,
            payload: payload.as_ref(),
            sent: self.sent(),
        };
        let reply = web.call(&call).await?;
        if !reply.response.status().is_success() {
            return Err(call.subject(&reply.host).judge(reply.response).await);
        }
        let subject = call.subject(&host);
        let body = read_bounded(reply.response, ANSWER_MAX).await.map_err(|error| subject.broken(error))?;
        let body = body.ok_or_else(|| subject.senseless("a token of more than a mebibyte"))?;
        parse(&body).ok_or_else(|| subject.senseless("an answer without a token"))
    }
}

/// Checks where tokens are to be got. Without TLS that is only where the registry itself goes without, or on its own
/// host: credentials are sent there.
fn realm_at(insecure: bool, base: &Url, realm: &str) -> Result<Url, &'static str> {
    let mut url: Url = realm.parse().map_err(|_| "it gives tokens at what is no address")?;
    let without_tls = base.scheme() == "http" || url.host() == base.host();
    match url.scheme() {
        "https" => {}
        "http" if insecure && without_tls => {}
        "http" => return Err("it gives tokens without TLS"),
        _ => return Err("it gives tokens at what is neither http nor https"),
    }
    let cleaned = url.set_username("").and_then(|()| url.set_password(None));
    cleaned.map_err(|()| "it gives tokens at what is no address")?;
    url.set_fragment(None);
    Ok(url)
}

/// Makes the form that exchanges a refresh token for another.
fn exchange(token: &Secret, service: Option<&str>, scopes: &[String]) -> Payload {
    // Only what encodes query strings is at hand for forms, which are the same.
    let mut form = zeroize::Zeroizing::new(String::new());
    let mut pair = |name: &str, value: &str| {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        encode(value, &mut form);
    };
    pair("grant_type", "refresh_token");
    if let Some(service) = service {
        pair("service", service);
    }
    pair("client_id", CLIENT_ID);
    pair("scope", &scopes.join(" "));
    pair("refresh_token", token.expose());
    Payload { make: std::sync::Arc::new(move || reqwest::Body::from(form.to_string())), secret: true }
}

/// Appends a value as forms have it.
fn encode(value: &str, form: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                form.push(char::from(byte));
            }
            b' ' => form.push('+'),
            other => {
                use std::fmt::Write as _;
                let _ = write!(form, "%{other:02X}");
            }
        }
    }
}

/// Makes a header's value that is not shown in logs.
fn header_of(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(secret.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn parse(body: &[u8]) -> Option<(HeaderValue, Duration)> {
    #[derive(serde::Deserialize)]
    struct Answer {
        token: Option<Secret>,
        access_token: Option<Secret>,
        /// Some servers give text, or a fraction.
        expires_in: Option<serde_json::Value>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty())?;
    let seconds = answer.expires_in.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let life = seconds
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(LIFE_DEFAULT);
    let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    Some((header_of(&Secret::new(bearer.as_str()))?, life.min(LIFE_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_servers() {
        let life = |body: &str| {
            parse(body.as_bytes()).map(|(header, life)| (header.to_str().unwrap().to_owned(), life.as_secs()))
        };
        let bearer = |life| Some(("Bearer x.y-z".to_owned(), life));
        assert_eq!(life(r#"{"token":"x.y-z","access_token":"other"}"#), bearer(60));
        assert_eq!(life(r#"{"access_token":"x.y-z","expires_in":300,"issued_at":"2020"}"#), bearer(300));
        assert_eq!(life(r#"{"token":"","access_token":"x.y-z","expires_in":"1e99"}"#), bearer(60));
        assert_eq!(life(r#"{"token":"x.y-z","expires_in":-5}"#), bearer(60));
        assert_eq!(life(r#"{"token":"x.y-z","expires_in":1e9}"#), bearer(24 * 3600));
        for bad in ["", "{}", r#"{"token":1}"#, r#"{"token":"a\nb"}"#, "[]"] {
            assert_eq!(life(bad), None, "{bad}");
        }
    }

    #[test]
    fn realms() {
        let at = |insecure: bool, base: &str, realm: &str| {
            realm_at(insecure, &base.parse().unwrap(), realm).is_ok()
        };
        let (with, without) = ("https://h.io:5000/v2/a/", "http://h.io:5000/v2/a/");
        assert!(at(false, with, "https://other.io/token") && at(true, with, "https://other.io/token"));
        assert!(at(true, with, "http://h.io/token") && at(true, without, "http://other.io/token"));
        assert!(!at(true, with, "http://other.io/token"));
        assert!(!at(false, with, "http://h.io/token") && !at(false, with, "ftp://h.io/token"));
    }

    #[test]
    fn scopes() {
        let challenged = ["repository:a/b:pull,push".to_owned()];
        assert_eq!(Purpose::Pull.scopes("a/b", &[]), ["repository:a/b:pull"]);
        assert_eq!(Purpose::Pull.scopes("a/b", &challenged), challenged);
        assert_eq!(
            Purpose::Mount("c".to_owned()).scopes("a/b", &challenged),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
        assert_eq!(
            Purpose::Mount("c".to_owned()).scopes("a/b", &[]),
            ["repository:a/b:pull,push", "repository:c:pull"]
        );
    }

    #[test]
    fn forms() {
        let mut form = String::new();
        encode("repository:a/b:pull x+ä~", &mut form);
        assert_eq!(form, "repository%3Aa%2Fb%3Apull+x%2B%C3%A4~");
    }
}
