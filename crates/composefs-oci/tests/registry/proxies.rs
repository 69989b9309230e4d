//! Through a proxy, which learns its own password and nothing else.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use composefs_oci::{environment::Environment, transport::registry::fault::Fault};
use composefs_testkit::registry::{Auth, Registry, RegistryOptions, Tls};

use crate::lab::{chain, fault, image, manifest, pull_with, with_login};

/// Tunnels every connection to one address, and keeps what it was asked.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `status` is what it answers; only after a 200 there is a tunnel.
    fn start(to: String, status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (heads, to) = (Arc::clone(&heard), to.clone());
                thread::spawn(move || tunnel(client.unwrap(), &to, status, &heads));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn tunnel(mut client: TcpStream, to: &str, status: u16, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head);
    write!(client, "HTTP/1.1 {status} Fine\r\n\r\n").unwrap();
    if status != 200 {
        return;
    }
    let server = TcpStream::connect(to).unwrap();
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut to_server = server;
    let _ = std::io::copy(&mut reader as &mut dyn Read, &mut to_server);
    let _ = to_server.shutdown(Shutdown::Both);
    back.join().unwrap();
}

#[test]
fn https_goes_through_the_proxy() {
    let auth = Auth::Basic("ann".to_owned(), "secret".to_owned());
    let registry = Registry::start(RegistryOptions::default().tls(Tls::Server).auth(auth));
    registry.add_image("app", "v1", &image());
    let proxy = Proxy::start(registry.host(), 200);
    let environment = Environment::default()
        .variable("HTTPS_PROXY", format!("http://bob:geheim@{}", proxy.address))
        .variable("NO_PROXY", "other.example");
    let options = with_login("ann", "secret").environment(environment);
    pull_with("docker://registry.example/app:v1", &options).unwrap();
    let heads = proxy.heads();
    assert!(!heads.is_empty() && heads.len() < 8, "{}", heads.len());
    for head in heads {
        assert!(head.starts_with("CONNECT registry.example:443 "), "{head}");
        assert!(head.to_lowercase().contains("proxy-authorization: basic ym9iomdlagvpbq=="), "{head}");
        assert!(!head.to_lowercase().contains("\r\nauthorization:"), "{head}");
    }
    for request in registry.requests() {
        assert_eq!(request.header("proxy-authorization"), None);
    }
}

#[test]
fn a_proxy_that_does_not_want_us() {
    let proxy = Proxy::start(String::new(), 407);
    let environment =
        Environment::default().variable("HTTPS_PROXY", format!("http://bob:geheim@{}", proxy.address));
    let options = crate::lab::options().tls_verify(None).environment(environment);
    let error = manifest("docker://registry.example/app:v1", &options).unwrap_err();
    let text = format!("{} {error:?}", chain(&error));
    assert!(!text.contains("geheim"), "{text}");
    let address = format!("through the proxy http://…@{}", proxy.address);
    assert!(text.contains(&format!("no way to registry.example {address}")), "{text}");
    assert!(error.hint().unwrap().contains("HTTPS_PROXY"));
    assert!(matches!(fault(error), Fault::Proxy { .. }));
}

#[test]
fn a_proxy_that_is_not_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for proxy in [format!("http://127.0.0.1:{port}"), "http://no-such-proxy.invalid:3128".to_owned()] {
        let environment = Environment::default().variable("ALL_PROXY", &proxy);
        for verify in [None, Some(false)] {
            let options = crate::lab::options().tls_verify(verify).environment(environment.clone());
            let error = manifest("docker://registry.example/app:v1", &options).unwrap_err();
            assert!(chain(&error).contains(&format!("through the proxy {proxy}")), "{}", chain(&error));
            assert!(matches!(fault(error), Fault::Proxy { .. }));
        }
    }
}

#[test]
fn a_proxy_whose_address_is_none_is_not_passed_by() {
    for address in ["http://bob:geheim@[::1", "ftp://bob:geheim@proxy.example", "http://bob:geheim@:99999"] {
        let environment = Environment::default().variable("HTTPS_PROXY", address);
        let options = crate::lab::options().environment(environment);
        let name = crate::lab::name_of("docker://registry.example/app:v1");
        let error = composefs_oci::transport::registry::Registry::open(&name, &options).unwrap_err();
        let text = format!("{} {error:?}", chain(&error));
        assert!(text.contains("is no address of a proxy") && !text.contains("geheim"), "{text}");
    }
}
