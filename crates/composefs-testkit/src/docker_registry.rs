//! Debian's docker-registry in a process of its own, on the loopback interface.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{peers, registry::Certificates, require};

/// How often another port is tried.
const TRIES: usize = 5;
/// How long it may take to listen.
const START: Duration = Duration::from_secs(20);

/// A user whom a registry that wants one knows, and the password.
pub const USER: (&str, &str) = ("ann", "geheim");
/// The same, as a file for it: a bcrypt hash.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu\n";

/// What a registry wants of whoever asks.
#[derive(Clone, Copy, Debug)]
pub enum Wants<'a> {
    /// Nothing.
    Nothing,
    /// [`USER`] and the password, over plain HTTP.
    Password,
    /// TLS with these certificates, and a client's.
    ClientCertificate(&'a Certificates),
}

/// A running docker-registry; it ends with this.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    port: u16,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl DockerRegistry {
    /// Starts one that keeps its files in `dir`, or skips the calling test.
    ///
    /// # Panics
    /// When its settings cannot be written.
    #[must_use]
    pub fn start_or_skip(dir: &Path, wants: Wants<'_>) -> Option<Self> {
        let program = peers::program_or_skip("docker-registry")?;
        for _ in 0..TRIES {
            // Another program may take the port in between; then it ends at once, and another one is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let settings = dir.join("registry.yml");
            std::fs::write(&settings, text(dir, port, wants)).unwrap();
            let mut command = Command::new(&program);
            command.arg("serve").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
            let mut registry = Self { process: command.spawn().unwrap(), port };
            if registry.comes_up() {
                return Some(registry);
            }
        }
        require::skip("needs a docker-registry that starts");
        None
    }

    fn comes_up(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < START && self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the reference of `name`, a repository with a tag or a digest.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host())
    }
}

fn text(dir: &Path, port: u16, wants: Wants<'_>) -> String {
    let write = |name: &str, contents: &str| {
        let path = dir.join(name);
        std::fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    let store = dir.join("store");
    let (mut http, mut auth) = (format!("addr: '127.0.0.1:{port}'"), String::new());
    match wants {
        Wants::Nothing => {}
        Wants::Password => {
            let file = write("htpasswd", HTPASSWD);
            auth = format!("auth: {{htpasswd: {{realm: test, path: {file}}}}}\n");
        }
        Wants::ClientCertificate(certificates) => {
            let certificate = write("server.crt", &certificates.server);
            let key = write("server.key", &certificates.server_key);
            let authority = write("authority.crt", &certificates.authority);
            http += &format!(", tls: {{certificate: {certificate}, key: {key}, clientcas: [{authority}]}}");
        }
    }
    format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{{http}}}\n{auth}",
        store.display()
    )
}
