use std::os::unix::fs::PermissionsExt;

use composefs_testkit::registry::{Auth, Registry, RegistryOptions, Tls};
use insta::assert_snapshot;

use crate::lab::Session;

/// What no output may have.
const PASSWORD: &str = "gehe:im";

fn registry() -> Registry {
    let auth = Auth::Basic("someone".to_owned(), PASSWORD.to_owned());
    Registry::start(RegistryOptions::default().auth(auth).tls(Tls::Server))
}

/// The transcript, in which there is no password and the port is always the same.
fn text(session: &Session, registry: &Registry) -> String {
    let text = session.text().replace(&registry.host(), "REGISTRY");
    assert!(!text.contains("gehe"), "{text}");
    text
}

#[test]
fn in_and_out() {
    let mut session = Session::new();
    let registry = registry();
    let host = registry.host();
    let certificates = session.sandbox.path("home/.config/containers/certs.d").join(&host);
    registry.certificates().unwrap().write(&certificates, false);
    session.see_fed(PASSWORD, ["oci", "login", "-u", "someone", "--password-stdin", &host]);
    session.see(["oci", "login", "--get-login", &host]);
    session.see(["oci", "login", "--get-login", "other.test"]);
    session.see_fed(
        format!("{PASSWORD}\n"),
        ["-q", "oci", "login", "-u", "someone", "--password-stdin", &format!("{host}/team")],
    );
    session.see(["oci", "login", "--get-login", &format!("https://{host}/team/")]);
    session.see(["oci", "logout", &format!("{host}/team")]);
    session.see(["oci", "logout", &format!("{host}/team")]);
    session.see(["oci", "logout", &host]);
    session.see(["oci", "login", "--get-login", &host]);
    let file = session.sandbox.path("run/containers/auth.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(!std::fs::read_to_string(file).unwrap().contains("auth\":"));
    assert_snapshot!(text(&session, &registry));
}

#[test]
fn in_another_file_and_out_of_all() {
    let mut session = Session::new();
    let registry = registry();
    let host = registry.host();
    let certificates = session.sandbox.path("certificates");
    registry.certificates().unwrap().write(&certificates, false);
    let (user, directory) = (["-u", "someone", "--password-stdin"], ["--cert-dir", "certificates"]);
    let login = |file: &'static str| {
        let start = ["oci", "login", host.as_str(), "--authfile", file];
        [&start[..], &user[..], &directory[..]].concat()
    };
    session.see_fed(PASSWORD, login("mine.json"));
    session.see(["oci", "login", "--get-login", "--authfile", "mine.json", &host]);
    session.see(["oci", "login", "--get-login", &host]);
    session.see(["oci", "logout", "--all", "--authfile", "mine.json"]);
    session.see(["oci", "login", "--get-login", "--authfile", "mine.json", &host]);
    session.sandbox.write("broken.json", format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{PASSWORD}\""));
    session.see_fed(PASSWORD, login("broken.json"));
    session.see(["oci", "login", "--get-login", "--authfile", "missing.json", &host]);
    assert_snapshot!(text(&session, &registry));
}

#[test]
fn what_is_refused() {
    let mut session = Session::new();
    let registry = registry();
    let host = registry.host();
    session.see_fed(PASSWORD, ["oci", "login", "-u", "someone", "--password-stdin", &host]);
    session
        .see_fed("gehe", ["oci", "login", "-u", "someone", "--password-stdin", "--tls-verify=false", &host]);
    session.see_fed("", ["oci", "login", "-u", "someone", "--password-stdin", &host]);
    session.see_fed(PASSWORD, ["oci", "login", "--password-stdin", &host]);
    session.see_fed("", ["oci", "login", "-u", "someone", &host]);
    session.see_fed("", ["oci", "login", &host]);
    let typed = ["oci", "login", "-u", "someone", "--password-stdin", "someone:gehe@h.test"];
    let output = session.sandbox.invocation().args(typed).stdin(PASSWORD).run().exited(1);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("gehe"), "{stderr}");
    session.note(stderr);
    session.see(["oci", "logout"]);
    session.see(["oci", "logout", "--all", &host]);
    assert!(!session.sandbox.path("run/containers/auth.json").exists());
    assert_snapshot!(text(&session, &registry));
}

#[test]
fn a_password_in_the_open_is_warned_about() {
    let session = Session::new();
    let registry = registry();
    let arguments = ["oci", "login", "-u", "someone", "-p", PASSWORD, "--tls-verify=false", &registry.host()];
    let output = session.run(arguments).success();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("warning: others can see a password given by --password"), "{stderr}");
    assert!(!stderr.contains("gehe"));
    let verbose = session.run([
        "-vv",
        "oci",
        "login",
        "-u",
        "someone",
        "-p",
        PASSWORD,
        "--tls-verify=false",
        &registry.host(),
    ]);
    let stderr = String::from_utf8(verbose.success().stderr).unwrap();
    assert!(stderr.contains("DEBUG") && !stderr.contains("gehe"), "{stderr}");
}

#[test]
fn a_helper_keeps_them() {
    let mut session = Session::new();
    let registry = registry();
    let host = registry.host();
    let script = "#!/bin/sh\nread -r q\ncase $1 in\nget) [ -e \"$HOME/kept\" ] && echo '{\"Username\":\"someone\",\"Secret\":\"x\"}' ||\n\
                  { echo 'credentials not found in native keychain'; exit 1; } ;;\n\
                  store) echo \"$q\" >\"$HOME/kept\" ;;\nerase) rm \"$HOME/kept\" ;;\nesac\n";
    let program = session.sandbox.write("bin/docker-credential-test", script);
    std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
    session.sandbox.write("run/containers/auth.json", format!("{{\"credHelpers\":{{\"{host}\":\"test\"}}}}"));
    let path = format!("{}:/usr/bin:/bin", session.sandbox.path("bin").display());
    let mut see = |input: &str, arguments: &[&str]| {
        let run = session.sandbox.invocation().args(arguments).env("PATH", &path).stdin(input);
        let output = run.run();
        session.add(&output);
    };
    see(PASSWORD, &["oci", "login", "-u", "someone", "--password-stdin", "--tls-verify=false", &host]);
    see("", &["oci", "login", "--get-login", &host]);
    see("", &["oci", "logout", &host]);
    see("", &["oci", "login", "--get-login", &host]);
    assert_snapshot!(text(&session, &registry));
}
