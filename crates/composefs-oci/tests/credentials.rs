//! Credentials that skopeo stored and reads, and a transcript in which no secret may be.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use composefs_oci::{
    credentials::{Credentials, Keychain, KeychainOptions, Secret},
    environment::Environment,
};
use composefs_testkit::{
    peers,
    registry::{Auth, Registry, RegistryOptions},
};

const PASSWORD: &str = "geheim:\u{e9}";

fn keychain(file: &Path) -> Keychain {
    Keychain::new(&Environment::default(), KeychainOptions::default().authfile(Some(file.to_owned())))
}

fn skopeo(program: &Path, home: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn skopeo_and_we_share_a_file() {
    let Some(program) = peers::skopeo_or_skip() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    let auth = Auth::Basic("someone".to_owned(), PASSWORD.to_owned());
    let registry = Registry::start(RegistryOptions::default().auth(auth));
    let host = registry.host();
    let name = format!("{host}/team");
    let path = file.to_str().unwrap();
    let login =
        ["login", "--tls-verify=false", "--authfile", path, "-u", "someone", "--password-stdin", &name];
    let output = skopeo(&program, dir.path(), &login, PASSWORD);
    assert!(output.status.success(), "{output:?}");
    let found = keychain(&file).lookup(&format!("{host}/team/x")).unwrap();
    assert_eq!(found, Some(Credentials::basic("someone", PASSWORD)));
    assert_eq!(keychain(&file).lookup(&format!("{host}/other")).unwrap(), None);

    // What we store, skopeo finds, and what it stored it finds still.
    keychain(&file).login(&host, "someone", &Secret::new(PASSWORD)).unwrap();
    for name in [&host, &name] {
        let get = ["login", "--get-login", "--authfile", path, name];
        let output = skopeo(&program, dir.path(), &get, "");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "someone", "{output:?}");
    }
    let relogin = ["login", "--tls-verify=false", "--authfile", path, &host];
    let output = skopeo(&program, dir.path(), &relogin, "");
    assert!(output.status.success(), "the stored password is good: {output:?}");
    keychain(&file).logout(&name).unwrap();
    let get = ["login", "--get-login", "--authfile", path, &host];
    assert!(skopeo(&program, dir.path(), &get, "").status.success());
    keychain(&file).logout(&host).unwrap();
    assert!(!skopeo(&program, dir.path(), &get, "").status.success());
}

/// Keeps what tracing would print.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_has_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let program = dir.path().join("docker-credential-test");
        std::fs::write(
            &program,
            "#!/bin/sh\nread -r q\necho \"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"geheim\\\"}\"\n",
        )
        .unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let environment = Environment::default()
            .variable("HOME", &home)
            .variable("XDG_RUNTIME_DIR", dir.path())
            .variable("HTTPS_PROXY", "http://u:geheim@p")
            .variable("PATH", dir.path());
        let keychain = Keychain::new(&environment, KeychainOptions::default());
        keychain.login("h.io", "u", &Secret::new("geheim")).unwrap();
        assert!(keychain.lookup("h.io/x").unwrap().is_some());
        std::fs::write(dir.path().join("containers/auth.json"), "{\"credHelpers\":{\"h.io\":\"test\"}}")
            .unwrap();
        assert_eq!(keychain.lookup("h.io/x").unwrap(), Some(Credentials::basic("u", "geheim")));
        keychain.login("h.io", "u", &Secret::new("geheim")).unwrap();
        let environment = environment.variable("XDG_RUNTIME_DIR", dir.path().join("none"));
        std::fs::create_dir_all(home.join(".docker")).unwrap();
        std::fs::write(home.join(".docker/config.json"), "{\"credsStore\":\"gone\"}").unwrap();
        assert_eq!(Keychain::new(&environment, KeychainOptions::default()).lookup("h.io/x").unwrap(), None);
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        text.contains("ask the credential helper") && text.contains("credsStore is not installed"),
        "{text}"
    );
    let encoded = "dTpnZWhlaW0=";
    assert!(!text.contains("geheim") && !text.contains(encoded), "{text}");
}
