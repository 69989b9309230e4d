//! Which proxy a URL is fetched through, by the environment's word.
//!
//! # Format
//! `docs/formats/transports.md`, section 6.

use std::net::IpAddr;

use reqwest::Url;

use crate::{credentials::SafeUrl, environment::Environment};

/// The proxies, and for what none is used.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<SafeUrl>,
    https: Option<SafeUrl>,
    direct: Vec<Direct>,
}

/// What is reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Direct {
    Everything,
    /// A domain, with or without itself besides what is below it.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// The addresses whose first bits are these.
    Network {
        address: IpAddr,
        bits: u32,
    },
}

impl Proxies {
    /// Reads what the environment says: the variables in capitals come first, as for Go's programs.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        let get =
            |names: &[&str]| names.iter().find_map(|name| environment.get(name)?.to_str().map(str::to_owned));
        let all = get(&["ALL_PROXY", "all_proxy"]);
        // To a CGI program a request's header `Proxy` looks like this variable.
        let http = match environment.get("REQUEST_METHOD") {
            Some(_) => get(&["http_proxy"]),
            None => get(&["HTTP_PROXY", "http_proxy"]),
        };
        let https = get(&["HTTPS_PROXY", "https_proxy"]);
        let direct = get(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let direct = direct.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self {
            http: http.or_else(|| all.clone()).as_deref().map(address),
            https: https.or(all).as_deref().map(address),
            direct: direct.filter_map(Direct::parse).collect(),
        }
    }

    /// Returns the proxy for a URL; `None` means to go there directly.
    #[must_use]
    pub fn proxy_for(&self, url: &Url) -> Option<SafeUrl> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref()?,
            "http" => self.http.as_ref()?,
            _ => return None,
        };
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let ip = bare.parse::<IpAddr>().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return None;
        }
        let port = url.port_or_known_default();
        let direct = self.direct.iter().any(|direct| direct.covers(&host, ip, port));
        (!direct).then(|| proxy.clone())
    }
}

/// Takes a proxy's address, which may leave out `http://`.
fn address(text: &str) -> SafeUrl {
    if text.contains("://") { SafeUrl::new(text) } else { SafeUrl::new(format!("http://{text}")) }
}

impl Direct {
    /// Reads one entry; what makes no sense covers nothing.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self::Network { address, bits });
        }
        if let Some(address) = ip(&entry) {
            return Some(Self::Address { address, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Some(address) = ip(host) {
            return Some(Self::Address { address, port });
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let (name, itself) = match host.strip_prefix('.') {
            Some(name) => (name, false),
            None => (host, true),
        };
        let name = name.trim_end_matches('.').to_owned();
        (!name.is_empty()).then_some(Self::Domain { name, itself, port })
    }

    fn covers(&self, host: &str, ip: Option<IpAddr>, port: Option<u16>) -> bool {
        let fits = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::Everything => true,
            Self::Domain { name, itself, port } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                fits(port) && (below || (*itself && host == name))
            }
            Self::Address { address, port } => fits(port) && ip == Some(*address),
            Self::Network { address, bits } => ip.is_some_and(|ip| {
                let shift = 128 - bits;
                let first = |address| left(address).checked_shr(shift).unwrap_or(0);
                width(ip) == width(*address) && first(ip) == first(*address)
            }),
        }
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns an address's bits, the first of them the highest of 128.
fn left(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let with =
            |environment: Environment, (name, value): &(&str, &str)| environment.variable(name, *value);
        Proxies::new(&variables.iter().fold(Environment::default(), with))
    }

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<String> {
        proxies(variables).proxy_for(&url.parse().unwrap()).map(|proxy| proxy.expose().to_owned())
    }

    #[test]
    fn the_scheme_chooses() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "plain:2")];
        assert_eq!(proxy(&both, "https://x.y/").unwrap(), "http://s:1");
        assert_eq!(proxy(&both, "http://x.y/").unwrap(), "http://plain:2");
        assert_eq!(proxy(&[("all_proxy", "socks5://a:3")], "https://x.y/").unwrap(), "socks5://a:3");
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://s:1")], "http://x.y/"), None);
        assert_eq!(
            proxy(&[("HTTP_PROXY", "http://A"), ("http_proxy", "http://b")], "http://x.y/").unwrap(),
            "http://A"
        );
        assert_eq!(proxy(&[], "https://x.y/"), None);
        let cgi = [("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy(&cgi, "http://x.y/"), None);
        for url in ["https://localhost/", "https://127.0.0.5:1/", "http://[::1]/"] {
            assert_eq!(proxy(&both, url), None, "{url}");
        }
        let shown = format!("{:?}", proxies(&[("HTTPS_PROXY", "http://u:geheim@s:1")]));
        assert!(shown.contains("…@s:1") && !shown.contains("geheim"), "{shown}");
    }

    #[test]
    fn what_goes_directly() {
        let direct =
            |list: &str, url: &str| proxy(&[("ALL_PROXY", "http://p"), ("NO_PROXY", list)], url).is_none();
        for (list, url, expected) in [
            ("*", "https://x.y/", true),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://a.b.example.com/", true),
            ("example.com", "https://badexample.com/", false),
            (".example.com", "https://example.com/", false),
            (".example.com", "https://a.example.com/", true),
            ("*.example.com", "https://a.example.com/", true),
            ("EXAMPLE.com. , other", "https://Example.COM./", true),
            (" a, example.com:8080 ", "https://example.com:8080/", true),
            ("example.com:8080", "https://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("10.1.2.3", "https://10.1.2.3:5000/", true),
            ("10.1.2.3:5000", "https://10.1.2.3:5000/", true),
            ("10.1.2.3:5001", "https://10.1.2.3:5000/", false),
            ("10.1.0.0/16", "https://10.1.255.3/", true),
            ("10.1.0.0/16", "https://10.2.0.1/", false),
            ("0.0.0.0/0", "https://10.2.0.1/", true),
            ("0.0.0.0/0", "https://[2001:db8::1]/", false),
            ("2001:db8::/32", "https://[2001:db8::1]/", true),
            ("2001:db8::1", "https://[2001:db8::1]:5000/", true),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000/", true),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]/", false),
            ("10.0.0.0/33,x:y:z,/,:,.", "https://10.0.0.1/", false),
            ("10.1.2.3", "https://host.10.1.2.3.example/", false),
        ] {
            assert_eq!(direct(list, url), expected, "{list} {url}");
        }
    }
}
