use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    time::Duration,
};

use super::*;

/// What no test may ever see.
const PASSWORD: &str = "gehe:im\u{1F511}";

/// A home of its own, with a directory for helpers.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(lab.at("bin")).unwrap();
        lab
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// Installs a helper: a shell script.
    fn helper(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/docker-credential-{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Another test's fork may still hold the file open for writing.
        let busy = |path: &Path| {
            std::process::Command::new(path)
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .spawn()
                .map(|mut child| {
                    let _ = child.kill();
                    let _ = child.wait();
                })
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy)
        };
        while busy(&path) {
            std::thread::yield_now();
        }
    }

    fn environment(&self) -> Environment {
        let path = format!("{}:/usr/bin:/bin", self.at("bin").display());
        Environment::default()
            .root(self.dir.path())
            .uid(1000)
            .variable("HOME", self.at("home"))
            .variable("XDG_RUNTIME_DIR", self.at("run"))
            .variable("PATH", path)
    }

    fn keychain(&self) -> Keychain {
        Keychain::new(&self.environment(), KeychainOptions::default())
    }

    fn lookup(&self, name: &str) -> Option<String> {
        self.keychain().lookup(name).unwrap().as_ref().map(shown)
    }
}

fn shown(credentials: &Credentials) -> String {
    match credentials {
        Credentials::Basic { user, password } => format!("{user}/{}", password.expose()),
        Credentials::IdentityToken(token) => format!("token {}", token.expose()),
    }
}

fn auth(pair: &str) -> String {
    format!("{{\"auth\":\"{}\"}}", STANDARD.encode(pair))
}

fn auths(entries: &[(&str, &str)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(key, pair)| format!("\"{key}\":{}", auth(pair))).collect();
    format!("{{\"auths\":{{{}}}}}", entries.join(","))
}

const FIRST: &str = "run/containers/auth.json";
const SECOND: &str = "home/.config/containers/auth.json";
const DOCKER: &str = "home/.docker/config.json";
const DOCKER_OLD: &str = "home/.dockercfg";

#[test]
fn files_are_asked_in_podmans_order() {
    let lab = Lab::new();
    assert_eq!(lab.lookup("h.io/a"), None);
    lab.write(DOCKER_OLD, &format!("{{\"https://h.io/v1/\":{}}}", auth("old:x")));
    assert_eq!(lab.lookup("h.io/a").unwrap(), "old/x");
    lab.write(DOCKER, &auths(&[("h.io", "docker:x")]));
    assert_eq!(lab.lookup("h.io/a").unwrap(), "docker/x");
    lab.write(SECOND, &auths(&[("h.io", "config:x")]));
    assert_eq!(lab.lookup("h.io/a").unwrap(), "config/x");
    lab.write(FIRST, &auths(&[("other.io", "run:x")]));
    assert_eq!(lab.lookup("h.io/a").unwrap(), "config/x", "the first file has nothing for it");
    lab.write(FIRST, &auths(&[("h.io", "run:x")]));
    assert_eq!(lab.lookup("h.io/a").unwrap(), "run/x");

    let environment = lab.environment().variable("REGISTRY_AUTH_FILE", lab.at("none.json"));
    let keychain = Keychain::new(&environment, KeychainOptions::default());
    assert_eq!(keychain.lookup("h.io/a").unwrap(), None, "it stands for all files");
    let file = lab.write("given.json", &auths(&[("h.io", "given:x")]));
    let options = KeychainOptions::default().authfile(Some(file));
    let keychain = Keychain::new(&environment, options.clone());
    assert_eq!(shown(&keychain.lookup("h.io/a").unwrap().unwrap()), "given/x");
    assert_eq!(keychain.lookup("other.io/a").unwrap(), None);
    let options = options.credentials(Some(Credentials::basic("hand", "x")));
    let keychain = Keychain::new(&environment, options);
    assert_eq!(shown(&keychain.lookup("other.io/a").unwrap().unwrap()), "hand/x");
    assert_eq!(shown(&keychain.stored_only().lookup("h.io/a").unwrap().unwrap()), "given/x");
    let options = KeychainOptions::default().authfile(Some(lab.at("none.json")));
    let error = Keychain::new(&environment, options).lookup("h.io/a").unwrap_err();
    assert!(matches!(error, CredentialsError::NoSuchFile(_)));

    let docker = lab.environment().variable("DOCKER_CONFIG", lab.at("dc"));
    fs::remove_file(lab.at(FIRST)).unwrap();
    fs::remove_file(lab.at(SECOND)).unwrap();
    lab.write("dc/config.json", &auths(&[("h.io", "dc:x")]));
    let found = Keychain::new(&docker, KeychainOptions::default()).lookup("h.io/a").unwrap().unwrap();
    assert_eq!(shown(&found), "dc/x");
}

#[test]
fn without_a_runtime_directory_the_systems_is_taken() {
    let lab = Lab::new();
    lab.write("run/containers/1000/auth.json", &auths(&[("h.io", "system:x")]));
    let environment = Environment::default().root(lab.dir.path()).uid(1000);
    let found = Keychain::new(&environment, KeychainOptions::default()).lookup("h.io").unwrap().unwrap();
    assert_eq!(shown(&found), "system/x");
    let nobody = Keychain::new(&Environment::default(), KeychainOptions::default());
    assert_eq!(nobody.lookup("h.io").unwrap(), None);
    let error = nobody.login("h.io", "u", &Secret::new("p")).unwrap_err();
    assert!(matches!(error, CredentialsError::NoPlace), "{error:?}");
}

#[test]
fn the_longest_key_wins() {
    let lab = Lab::new();
    lab.write(
        FIRST,
        &auths(&[
            ("h.io:5000", "host:x"),
            ("h.io:5000/a", "space:x"),
            ("h.io:5000/a/b", "repo:x"),
            ("h.io", "no:x"),
        ]),
    );
    assert_eq!(lab.lookup("h.io:5000/a/b").unwrap(), "repo/x");
    assert_eq!(lab.lookup("h.io:5000/a/b/c").unwrap(), "repo/x");
    assert_eq!(lab.lookup("h.io:5000/a/bb").unwrap(), "space/x");
    assert_eq!(lab.lookup("h.io:5000/aa").unwrap(), "host/x");
    assert_eq!(lab.lookup("h.io:5001/a"), None);
    // On purpose nothing, for all files that follow too.
    lab.write(FIRST, &format!("{{\"auths\":{{\"h.io/a\":{{}},\"h.io\":{}}}}}", auth("host:x")));
    lab.write(SECOND, &auths(&[("h.io/a/b", "config:x")]));
    assert_eq!(lab.lookup("h.io/a/b"), None);
    assert_eq!(lab.lookup("h.io/b").unwrap(), "host/x");
}

#[test]
fn dockers_keys_and_the_hubs_names() {
    let lab = Lab::new();
    for key in ["https://h.io/v1/", "https://h.io", "http://h.io/v2/", "h.io/v1/", "h.io"] {
        lab.write(DOCKER, &auths(&[(key, "u:x")]));
        assert_eq!(lab.lookup("h.io/a/b").as_deref(), Some("u/x"), "{key}");
        assert_eq!(lab.lookup("h.io.evil/a"), None);
    }
    for key in [HUB_V1, "index.docker.io", "docker.io", "registry-1.docker.io", "docker.io/library"] {
        lab.write(DOCKER, &auths(&[(key, "u:x")]));
        assert_eq!(lab.lookup("docker.io/library/debian").as_deref(), Some("u/x"), "{key}");
    }
    lab.write(DOCKER, &auths(&[("h.io/a", "u:x")]));
    assert_eq!(lab.lookup("h.io/b"), None, "a namespace is no host");
}

#[test]
fn entries_of_every_kind() {
    let lab = Lab::new();
    let with = |entry: &str| {
        lab.write(FIRST, &format!("{{\"auths\":{{\"h.io\":{entry}}},\"more\":[1]}}"));
        lab.keychain().lookup("h.io/x").map(|found| found.as_ref().map(shown))
    };
    assert_eq!(with(&auth("u:a:b:")).unwrap().unwrap(), "u/a:b:");
    assert_eq!(with(&auth("u:p\0\0")).unwrap().unwrap(), "u/p");
    assert_eq!(with(&auth("u:")).unwrap().unwrap(), "u/");
    assert_eq!(with("{\"auth\":\"dXU6cA\"}").unwrap().unwrap(), "uu/p", "without padding");
    assert_eq!(with("{\"auth\":\"dXU6\\ncA==\\n\"}").unwrap().unwrap(), "uu/p", "in lines");
    assert_eq!(with("{\"auth\":\"dTo=\",\"identitytoken\":\"tok\"}").unwrap().unwrap(), "token tok");
    assert_eq!(with("{\"auth\":\"\",\"identitytoken\":\"\"}").unwrap(), None);
    assert_eq!(with("{\"auth\":null,\"email\":\"x\"}").unwrap(), None);
    assert_eq!(with("null").unwrap(), None);
    for (entry, reason) in [
        ("{\"auth\":\"!!\"}", "entry `h.io`: `auth` is not base64"),
        ("{\"auth\":\"bm9jb2xvbg==\"}", "entry `h.io`: `auth` is not a user and a password"),
        ("{\"auth\":\"/zo=\"}", "entry `h.io`: `auth` is not text"),
        ("{\"auth\":{\"x\":\"gehe:im\"}}", "not the JSON of credentials, at line 1 column 25"),
    ] {
        let error = with(entry).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), reason);
        assert!(error.to_string().ends_with(FIRST), "{error}");
        assert!(!format!("{error:?}").contains("gehe"));
    }
}

#[test]
fn a_broken_file_is_named_and_never_quoted() {
    let lab = Lab::new();
    lab.write(SECOND, &auths(&[("h.io", "u:x")]));
    for text in ["", "{", "[]", "{\"auths\":\"gehe:im\"}", "{\"auths\":{}}gehe:im", "\u{0}"] {
        lab.write(FIRST, text);
        let error = lab.keychain().lookup("h.io").unwrap_err();
        let all =
            format!("{error} {error:?} {} {:?}", std::error::Error::source(&error).unwrap(), error.hint());
        assert!(all.contains(FIRST) && !all.contains("gehe"), "{all}");
    }
    lab.write(FIRST, &format!("{{\"auths\":{{}},\"x\":\"{}\"}}", "a".repeat(1 << 20)));
    assert!(matches!(lab.keychain().lookup("h.io"), Err(CredentialsError::Io(_))));
    fs::remove_file(lab.at(FIRST)).unwrap();
    fs::create_dir(lab.at(FIRST)).unwrap();
    assert!(matches!(lab.keychain().lookup("h.io"), Err(CredentialsError::Io(_))));
}

/// Answers for one server as helpers do, and writes down what it was asked.
const HELPER: &str = r#"read -r question
echo "$1 $question" >>"$HOME/asked"
case "$1:$question" in
get:h.io) echo '{"ServerURL":"h.io","Username":"helped","Secret":"x"}' ;;
get:t.io) echo '{"Username":"<token>","Secret":"tok"}' ;;
get:https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"x"}' ;;
get:bad.io) echo 'gehe:im' ;;
get:angry.io) echo "the key store is locked"; exit 1 ;;
get:*) echo "credentials not found in native keychain"; exit 1 ;;
store:*angry*) echo "refused: $question"; exit 3 ;;
store:* | erase:h.io) ;;
erase:*) echo "credentials not found in native keychain"; exit 1 ;;
esac"#;

#[test]
fn helpers_are_asked() {
    let lab = Lab::new();
    fs::create_dir(lab.at("home")).unwrap();
    lab.helper("x", HELPER);
    let helpers = |hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| format!("\"{host}\":\"x\"")).collect();
        format!("{{\"auths\":{{\"h.io/a\":{}}},\"credHelpers\":{{{}}}}}", auth("file:x"), hosts.join(","))
    };
    lab.write(FIRST, &helpers(&["h.io", "t.io", "bad.io", "angry.io", "none.io", "docker.io"]));
    fs::write(lab.at("home/asked"), "").unwrap();
    // As skopeo 1.9.3: a helper for the host comes before an entry for a part of it.
    assert_eq!(lab.lookup("h.io/a/b").unwrap(), "helped/x");
    assert_eq!(lab.lookup("t.io/a").unwrap(), "token tok");
    assert_eq!(lab.lookup("docker.io/library/a").unwrap(), "hub/x");
    assert_eq!(lab.lookup("none.io/a"), None);
    assert_eq!(
        lab.read("home/asked"),
        "get h.io\nget t.io\nget docker.io\nget https://index.docker.io/v1/\nget none.io\n"
    );
    // What a helper does not have, the next file may; the rest of its own file is passed over.
    lab.write(DOCKER, &auths(&[("none.io", "docker:x")]));
    assert_eq!(lab.lookup("none.io/a").unwrap(), "docker/x");
    let fault = |name: &str| {
        let error = lab.keychain().lookup(name).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!format!("{error} {error:?} {cause}").contains("gehe"));
        cause.replace(lab.dir.path().to_str().unwrap(), "DIR")
    };
    assert_eq!(fault("bad.io/a"), "DIR/bin/docker-credential-x get gave no answer of a credential helper");
    assert_eq!(fault("angry.io/a"), "DIR/bin/docker-credential-x get: the key store is locked");
    lab.write(FIRST, "{\"credHelpers\":{\"h.io\":\"nonesuch\"}}");
    assert_eq!(fault("h.io/a"), "docker-credential-nonesuch is not in PATH");
    lab.write(FIRST, "{\"credHelpers\":{\"h.io\":\"../bin/x\"}}");
    assert_eq!(fault("h.io/a"), "`../bin/x` is no name of a credential helper");
}

#[test]
fn a_store_for_everything_is_dockers_alone() {
    let lab = Lab::new();
    fs::create_dir(lab.at("home")).unwrap();
    lab.helper("x", HELPER);
    let text = format!("{{\"auths\":{{\"f.io\":{},\"h.io\":{{}}}},\"credsStore\":\"x\"}}", auth("file:x"));
    lab.write(DOCKER, &text);
    assert_eq!(lab.lookup("h.io/a").unwrap(), "helped/x");
    assert_eq!(lab.lookup("docker.io/library/a").unwrap(), "hub/x");
    assert_eq!(lab.lookup("f.io/a").unwrap(), "file/x");
    assert_eq!(lab.lookup("none.io/a"), None);
    // One that was uninstalled does not stand in the way of public images.
    lab.write(DOCKER, &text.replace("\"x\"}", "\"desktop\"}"));
    assert_eq!(lab.lookup("h.io/a"), None);
    fs::remove_file(lab.at(DOCKER)).unwrap();
    lab.write(SECOND, &text);
    assert_eq!(lab.lookup("h.io/a"), None, "podman's file has no such field");
}

#[test]
fn a_helper_that_hangs_is_stopped() {
    let lab = Lab::new();
    for (name, script) in [("silent", "exec sleep 60"), ("closed", "exec sleep 60 >&-")] {
        lab.helper(name, script);
        let helper = Helper::find(name, &lab.environment()).unwrap().time_out(Duration::from_millis(200));
        let before = std::time::Instant::now();
        let error = helper.get("h.io").unwrap_err();
        assert!(matches!(error, HelperError::TimedOut { .. }), "{error:?}");
        assert!(before.elapsed() < Duration::from_secs(30));
    }
    lab.helper("deaf", "exec <&-; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
    let helper = Helper::find("deaf", &lab.environment()).unwrap();
    assert_eq!(shown(&helper.get(&"h".repeat(1 << 20)).unwrap().unwrap()), "u/p");
}

#[test]
fn logging_in_and_out_of_a_file() {
    let lab = Lab::new();
    let secret = Secret::new(PASSWORD);
    let kept = lab.keychain().login("https://h.io:5000/", "me", &secret).unwrap();
    assert_eq!(kept, Kept::File(lab.at(FIRST)));
    assert_eq!(fs::metadata(lab.at(FIRST)).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(lab.lookup("h.io:5000/x").unwrap(), format!("me/{PASSWORD}"));
    lab.keychain().login("h.io:5000/team", "team", &Secret::new("x")).unwrap();
    assert_eq!(lab.lookup("h.io:5000/team/x").unwrap(), "team/x");
    // What others put there stays, and so does a link.
    lab.write(
        "real.json",
        "{\"zeta\":{\"b\":1,\"a\":2},\"auths\":{\"o.io\":{\"auth\":\"dTpw\",\"email\":\"e\"}},\"n\":1.50}",
    );
    fs::remove_file(lab.at(FIRST)).unwrap();
    std::os::unix::fs::symlink(lab.at("real.json"), lab.at(FIRST)).unwrap();
    lab.keychain().login("o.io", "v", &Secret::new("q")).unwrap();
    lab.keychain().login("docker.io", "hub", &Secret::new("q")).unwrap();
    let expected = "{\n\t\"zeta\": {\n\t\t\"b\": 1,\n\t\t\"a\": 2\n\t},\n\t\"auths\": {\n\t\t\"o.io\": {\n\t\t\t\"auth\": \"djpx\",\n\t\t\t\"email\": \"e\"\n\t\t},\n\t\t\"docker.io\": {\n\t\t\t\"auth\": \"aHViOnE=\"\n\t\t}\n\t},\n\t\"n\": 1.5\n}";
    assert_eq!(lab.read("real.json"), expected);
    assert_eq!(lab.lookup("docker.io/library/x").unwrap(), "hub/q");
    let out = |name: &str| lab.keychain().logout(name);
    assert_eq!(out("o.io").unwrap(), Kept::File(lab.at(FIRST)));
    let error = out("o.io").unwrap_err();
    assert_eq!((error.to_string().as_str(), error.hint()), ("not logged in to o.io", None));
    lab.write(DOCKER, &auths(&[("o.io", "u:x")]));
    assert!(out("o.io").unwrap_err().hint().unwrap().contains(DOCKER));
    assert_eq!(out("index.docker.io").unwrap(), Kept::File(lab.at(FIRST)));
    lab.keychain().login("a.io", "v", &Secret::new("q")).unwrap();
    assert_eq!(lab.keychain().logout_all().unwrap(), lab.at(FIRST));
    assert_eq!(lab.lookup("a.io"), None);
    for name in ["", "https://", "u:geheim@h.io", "h.io//x", "h .io"] {
        let error = lab.keychain().login(name, "u", &secret).unwrap_err();
        assert!(matches!(error, CredentialsError::Name(_)), "{name}");
        assert!(!format!("{error} {error:?}").contains("geheim"));
    }
    lab.write("real.json", "{\"auths\":[]}");
    assert!(matches!(lab.keychain().login("a.io", "u", &secret), Err(CredentialsError::File { .. })));
    assert_eq!(lab.read("real.json"), "{\"auths\":[]}", "what is not understood is not overwritten");
}

#[test]
fn logging_in_and_out_of_a_helper() {
    let lab = Lab::new();
    fs::create_dir(lab.at("home")).unwrap();
    lab.helper("x", HELPER);
    let text = "{\"credHelpers\":{\"h.io\":\"x\",\"angry.io\":\"x\"}}";
    lab.write(FIRST, text);
    fs::write(lab.at("home/asked"), "").unwrap();
    let secret = Secret::new(PASSWORD);
    assert_eq!(lab.keychain().login("h.io", "me", &secret).unwrap(), Kept::Helper("x".to_owned()));
    assert_eq!(
        lab.read("home/asked"),
        format!("store {{\"ServerURL\":\"h.io\",\"Username\":\"me\",\"Secret\":\"{PASSWORD}\"}}\n")
    );
    assert_eq!(lab.read(FIRST), text);
    assert!(matches!(
        lab.keychain().login("h.io/team", "me", &secret),
        Err(CredentialsError::Namespaced { .. })
    ));
    let error = lab.keychain().login("angry.io", "me", &secret).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("store: refused: ") && !cause.contains("gehe"), "{cause}");
    assert!(!format!("{error:?}").contains("gehe"));
    assert_eq!(lab.keychain().logout("h.io").unwrap(), Kept::Helper("x".to_owned()));
    assert!(matches!(lab.keychain().logout("angry.io"), Err(CredentialsError::NotLoggedIn { .. })));
}

#[test]
fn nothing_shows_a_secret() {
    let credentials = Credentials::basic("me", PASSWORD);
    let options = KeychainOptions::default().credentials(Some(credentials.clone()));
    let keychain = Keychain::new(&Environment::default(), options.clone());
    let shown = format!("{credentials:?} {options:?} {keychain:?} {:?}", credentials.authorization());
    let encoded = STANDARD.encode(format!("me:{PASSWORD}"));
    assert!(!shown.contains("gehe") && !shown.contains(&encoded), "{shown}");
    assert_eq!(credentials.authorization().unwrap().expose(), format!("Basic {encoded}"));
    assert_eq!(Credentials::IdentityToken(Secret::new("x")).authorization(), None);
}
