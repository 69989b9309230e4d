//! Who may do what: nobody is asked, Basic, or Bearer with tokens from a service.

use std::{collections::HashMap, time::Instant};

use serde_json::json;

use super::{
    Place, Shared,
    http::{Reply, Request, form},
    lock,
};

/// What the registry wants to know about whoever asks.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A name and a password with every request.
    Basic(String, String),
    /// A token from a service.
    Bearer(Bearer),
}

/// Which address challenges name as the token service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Realm {
    /// The registry's own.
    #[default]
    Same,
    /// A service on another port.
    Other,
    /// Any address.
    At(String),
}

/// Where a token stands in the answer of the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenField {
    /// In `token`.
    #[default]
    Token,
    /// In `access_token`.
    AccessToken,
    /// In both.
    Both,
}

/// How tokens are given out and asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bearer {
    /// The name and password that the service wants; without, everybody gets a token.
    pub user: Option<(String, String)>,
    /// The refresh token that a POST may bring instead.
    pub identity: Option<String>,
    /// Where the service is said to be.
    pub realm: Realm,
    /// Where a token stands in the answer.
    pub field: TokenField,
    /// What the answer says in `expires_in`, in seconds.
    pub expires_in: Option<u64>,
    /// How often each token works.
    pub uses: Option<usize>,
    /// Challenges in the same header before the one for Bearer, such as `Basic realm="x"`.
    pub before: Vec<String>,
    /// Challenges in a second header.
    pub beside: Vec<String>,
    /// Scopes that nobody gets, such as `repository:private:pull`.
    pub denied: Vec<String>,
}

impl Default for Bearer {
    fn default() -> Self {
        Self {
            user: None,
            identity: None,
            realm: Realm::Same,
            field: TokenField::Token,
            expires_in: Some(300),
            uses: None,
            before: Vec::new(),
            beside: Vec::new(),
            denied: Vec::new(),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl Bearer {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}
setters! {
    /// Sets where the service is said to be.
    realm: Realm,
    /// Sets where a token stands in the answer.
    field: TokenField,
    /// Sets what the answer says in `expires_in`.
    expires_in: Option<u64>,
    /// Sets how often each token works.
    uses: Option<usize>,
    /// Sets challenges before the one for Bearer, in the same header.
    before: Vec<String>,
    /// Sets challenges in a second header.
    beside: Vec<String>,
    /// Sets scopes that nobody gets.
    denied: Vec<String>,
}

impl Bearer {
    /// Sets the name and password that the service wants.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Sets the refresh token that a POST may bring.
    #[must_use]
    pub fn identity(mut self, token: &str) -> Self {
        self.identity = Some(token.to_owned());
        self
    }
}

/// The tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    next: u64,
    valid: HashMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    scopes: Vec<String>,
    uses: Option<usize>,
    until: Option<Instant>,
}

impl Tokens {
    pub(super) fn revoke(&mut self) {
        self.valid.clear();
    }

    fn give(&mut self, bearer: &Bearer, scopes: Vec<String>) -> String {
        self.next += 1;
        let text = format!("token-{}", self.next);
        let until = bearer.expires_in.map(|seconds| Instant::now() + std::time::Duration::from_secs(seconds));
        self.valid.insert(text.clone(), Token { scopes, uses: bearer.uses, until });
        text
    }

    /// Uses a token; tells whether it is valid, and then whether it has the scopes.
    fn take(&mut self, text: &str, needed: &[String]) -> Option<bool> {
        let token = self.valid.get_mut(text)?;
        if token.uses == Some(0) || token.until.is_some_and(|until| until < Instant::now()) {
            return None;
        }
        token.uses = token.uses.map(|uses| uses - 1);
        Some(needed.iter().all(|needed| token.scopes.iter().any(|scope| covers(scope, needed))))
    }
}

/// `repository:a:pull,push` covers `repository:a:pull`.
fn covers(scope: &str, needed: &str) -> bool {
    let (Some((there, actions)), Some((wanted, action))) = (scope.rsplit_once(':'), needed.rsplit_once(':'))
    else {
        return false;
    };
    there == wanted && action.split(',').all(|action| actions.split(',').any(|there| there == action))
}

/// Tells whether a token with the scope of `from` came too, as a mount needs it.
pub(super) fn may_pull(shared: &Shared, request: &Request, from: &str) -> bool {
    let Auth::Bearer(_) = shared.options().auth else { return true };
    let scope = format!("repository:{from}:pull");
    bearer_token(request).is_some_and(|token| lock(&shared.tokens).take(token, &[scope]).unwrap_or_default())
}

fn bearer_token(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

/// Refuses a request that is not allowed what `scope` says; the empty scope is the probe's.
pub(super) fn refusal(shared: &Shared, request: &Request, scope: &str) -> Option<Reply> {
    let unauthorized = |challenges: Vec<String>| {
        let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
        challenges.iter().fold(reply, |reply, challenge| reply.header("WWW-Authenticate", challenge))
    };
    match &shared.options().auth {
        Auth::None => None,
        Auth::Basic(name, password) => {
            let given = request.header("authorization") == Some(&basic(name, password));
            (!given).then(|| unauthorized(vec!["Basic realm=\"testkit\"".to_owned()]))
        }
        Auth::Bearer(bearer) => {
            let needed: Vec<String> = (!scope.is_empty()).then(|| scope.to_owned()).into_iter().collect();
            let valid = bearer_token(request).and_then(|token| lock(&shared.tokens).take(token, &needed));
            let fault = match valid {
                Some(true) => return None,
                Some(false) => ",error=\"insufficient_scope\"",
                None if bearer_token(request).is_some() => ",error=\"invalid_token\"",
                None => "",
            };
            let realm = match &bearer.realm {
                Realm::Same => shared.url(Place::Registry, "/token"),
                Realm::Other => shared.url(Place::Tokens, "/token"),
                Realm::At(address) => address.clone(),
            };
            let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
            let own = format!("Bearer realm=\"{realm}\",service=\"testkit\"{scope}{fault}");
            let first: Vec<&str> = bearer.before.iter().map(String::as_str).chain([own.as_str()]).collect();
            let challenges = std::iter::once(first.join(", ")).chain(bearer.beside.iter().cloned());
            Some(unauthorized(challenges.collect()))
        }
    }
}

/// The token service.
pub(super) fn token(shared: &Shared, request: &Request) -> Reply {
    let Auth::Bearer(bearer) = shared.options().auth else {
        return Reply::error(404, "UNSUPPORTED", "no tokens here");
    };
    let refused = || Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
    let scopes = if request.method == "POST" {
        let body = String::from_utf8_lossy(&request.body);
        let field = |name: &str| form(&body, name).into_iter().next();
        let known = match field("grant_type").as_deref() {
            Some("refresh_token") => bearer.identity.is_some() && field("refresh_token") == bearer.identity,
            Some("password") => {
                bearer.user.is_some() && field("username").zip(field("password")) == bearer.user
            }
            _ => return Reply::error(400, "UNSUPPORTED", "grant_type"),
        };
        if !known {
            return refused();
        }
        if field("client_id").is_none() {
            return Reply::error(400, "UNSUPPORTED", "no client_id");
        }
        form(&body, "scope")
    } else {
        match (&bearer.user, request.header("authorization")) {
            (Some((name, password)), given) if given != Some(&basic(name, password)) => return refused(),
            (None, None) | (Some(_), _) => {}
            (None, Some(_)) if bearer.identity.is_some() => return refused(),
            (None, Some(_)) => {}
        }
        request.queries("scope")
    };
    let scopes = scopes
        .iter()
        .flat_map(|scope| scope.split(' '))
        .filter(|scope| !bearer.denied.iter().any(|denied| covers(scope, denied)))
        .map(str::to_owned)
        .collect();
    let token = lock(&shared.tokens).give(&bearer, scopes);
    let mut answer = json!({"issued_at": "2024-01-01T00:00:00Z"});
    if bearer.field != TokenField::AccessToken {
        answer["token"] = json!(token);
    }
    if bearer.field != TokenField::Token {
        answer["access_token"] = json!(token);
    }
    if let Some(seconds) = bearer.expires_in {
        answer["expires_in"] = json!(seconds);
    }
    if let Some(identity) = bearer.identity.as_ref().filter(|_| request.method == "POST") {
        answer["refresh_token"] = json!(identity);
    }
    Reply::new(200).json(&answer)
}

/// The value of `Authorization` for a name and a password.
fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{name}:{password}").as_bytes()))
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at > three.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

#[cfg(test)]
#[test]
fn basic_is_base64() {
    assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(basic("u", "p"), "Basic dTpw");
    assert_eq!(basic("me", "p"), "Basic bWU6cA==");
}
