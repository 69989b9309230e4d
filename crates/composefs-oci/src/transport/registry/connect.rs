//! The connections of one place: TLS, proxies, timeouts.

use reqwest::{ClientBuilder, Url, redirect::Policy, retry};

use crate::{credentials::Keychain, error::Error};

use super::{
    RegistryOptions,
    client::Client,
    hosts::Endpoint,
    proxies::Proxies,
    redirect::{Connections, Web},
    tls::{Certificates, Roots, Verify, client_config},
    token::Auth,
};

/// How proxies are spoken to.
const SCHEMES: &[&str] = &["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// What all places of an image have in common.
pub(super) struct Connector<'a> {
    options: &'a RegistryOptions,
    keychain: Keychain,
    proxies: Proxies,
    /// Read when the first place needs them.
    roots: Option<Roots>,
}

impl<'a> Connector<'a> {
    pub(super) fn new(options: &'a RegistryOptions) -> Self {
        Self {
            options,
            keychain: Keychain::new(&options.environment, options.keychain.clone()),
            proxies: Proxies::new(&options.environment),
            roots: None,
        }
    }

    /// Makes what asks a place; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Tls`] for certificates that cannot be used, [`Error::Connections`].
    pub(super) fn client(&mut self, endpoint: &Endpoint) -> Result<Client, Error> {
        let web = self.web(endpoint)?;
        let (name, repository) = (endpoint.reference.name(), endpoint.reference.path());
        let keychain = self.keychain.clone();
        // What the user gives by hand is for the registry that the user names.
        let keychain = if endpoint.mirror { keychain.stored_only() } else { keychain };
        Client::new(endpoint, web, Auth::new(keychain, &name, repository))
    }

    /// Makes what asks a registry whether it takes the credentials given by hand; nothing is sent.
    ///
    /// # Errors
    /// As [`Connector::client`].
    pub(super) fn client_for_login(&mut self, endpoint: &Endpoint) -> Result<Client, Error> {
        let web = self.web(endpoint)?;
        let registry = endpoint.reference.domain();
        Ok(Client::new(endpoint, web, Auth::new(self.keychain.clone(), registry, ""))?.called(registry))
    }

    fn web(&mut self, endpoint: &Endpoint) -> Result<Web, Error> {
        let insecure = self.options.tls_verify.map_or(endpoint.insecure, |verify| !verify);
        let verify = if insecure { Verify::Nothing } else { Verify::Full };
        let (environment, directory) = (&self.options.environment, self.options.cert_dir.as_deref());
        let roots = match (&self.roots, verify) {
            (_, Verify::Nothing) => Roots::none(),
            (Some(roots), Verify::Full) => roots.clone(),
            (None, Verify::Full) => self.roots.insert(Roots::load(environment)?).clone(),
        };
        self.check_proxies(endpoint)?;
        let own = Certificates::load(endpoint.reference.domain(), environment, directory)?;
        let elsewhere = own.without_identities();
        Ok(Web {
            own: self.connections(&client_config(verify, &roots, &own)?)?,
            elsewhere: self.connections(&client_config(verify, &roots, &elsewhere)?)?,
            insecure,
            proxies: self.proxies.clone(),
        })
    }

    /// Refuses a proxy whose address is none, past which the library would go directly.
    fn check_proxies(&self, endpoint: &Endpoint) -> Result<(), Error> {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{}/", endpoint.api_host()).parse::<Url>();
            if let Some(proxy) = url.ok().and_then(|url| self.proxies.proxy_for(&url))
                && !proxy.expose().parse::<Url>().is_ok_and(|url| SCHEMES.contains(&url.scheme()))
            {
                return Err(Error::Connections(format!("{proxy} is no address of a proxy")));
            }
        }
        Ok(())
    }

    fn connections(&self, tls: &rustls::ClientConfig) -> Result<Connections, Error> {
        let patience = self.options.read_timeout;
        let build = |http: ClientBuilder| {
            http.build().map_err(|error| Error::Connections(error.without_url().to_string()))
        };
        Ok(Connections {
            asking: build(self.http(tls.clone()).read_timeout(patience))?,
            sending: build(self.http(tls.clone()))?,
            patience,
        })
    }

    fn http(&self, tls: rustls::ClientConfig) -> ClientBuilder {
        let proxies = self.proxies.clone();
        let proxy = move |url: &Url| proxies.proxy_for(url).map(|proxy| proxy.expose().parse::<Url>());
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .retry(retry::never())
            .http1_only()
            .referer(false)
            .proxy(reqwest::Proxy::custom(move |url| proxy(url).and_then(Result::ok)))
            .user_agent(&self.options.user_agent)
            .connect_timeout(self.options.connect_timeout)
    }
}
