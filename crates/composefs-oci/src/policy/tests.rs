use std::path::Path;

use super::*;
use crate::reference::RegistryReference;

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

fn registry(name: &str) -> Identity {
    Identity::registry(&name.parse::<RegistryReference>().unwrap())
}

fn policy(default: &str, transports: &str) -> Policy {
    Policy::parse(format!(r#"{{"default":{default},"transports":{transports}}}"#).as_bytes()).unwrap()
}

fn one(requirement: &str) -> Result<Policy, PolicyFileError> {
    Policy::parse(format!(r#"{{"default":[{requirement}]}}"#).as_bytes())
}

#[test]
fn the_nearest_scope_counts() {
    let name = "reg.a.example.com:5000/ns/sub/app:v1";
    let scopes = [
        name,
        "reg.a.example.com:5000/ns/sub/app",
        "reg.a.example.com:5000/ns/sub",
        "reg.a.example.com:5000/ns",
        "reg.a.example.com:5000",
        "*.a.example.com",
        "*.example.com",
        "*.com",
    ];
    assert_eq!(registry(name).scopes(), scopes);
    for (at, scope) in scopes.iter().enumerate() {
        let others = scopes.iter().skip(at + 1).map(|other| format!(r#","{other}":{REJECT}"#));
        let others: String = others.collect();
        let policy = policy(REJECT, &format!(r#"{{"docker":{{"":{REJECT},"{scope}":{ACCEPT}{others}}}}}"#));
        policy.admit(&registry(name)).unwrap();
        assert!(policy.admit(&registry("elsewhere.org/x")).is_err());
    }
    let digest = format!("x.y/z@sha256:{}", "0".repeat(64));
    assert_eq!(registry(&digest).scopes(), [&digest, "x.y/z", "x.y", "*.y"]);
    assert_eq!(
        registry("debian").scopes()[..2],
        ["docker.io/library/debian:latest", "docker.io/library/debian"]
    );
}

#[test]
fn other_transports() {
    let path = Identity::path(PathTransport::Layout, Path::new("/srv/a/b"));
    assert_eq!(
        (path.transport(), path.scopes()),
        ("oci", &["/srv/a/b", "/srv/a", "/srv"].map(String::from)[..])
    );
    let root = Identity::path(PathTransport::Dir, Path::new("/"));
    assert_eq!((root.transport(), root.scopes().len()), ("dir", 0));
    assert!(Identity::docker_archive(Path::new("/x")).scopes().is_empty());
    let daemon = |text: &str| match format!("docker-daemon:{text}").parse() {
        Ok(crate::reference::Reference::DockerDaemon(image)) => Identity::docker_daemon(&image),
        other => panic!("{other:?}"),
    };
    assert_eq!(daemon("x.y/z:1").scopes(), ["x.y/z:1", "x.y/z", "x.y", "*.y"]);
    assert!(daemon(&format!("sha256:{}", "a".repeat(64))).scopes().is_empty());
    let name: RegistryReference = "localhost/x:v1".parse().unwrap();
    let stored = |name, id| Identity::storage("overlay", Path::new("/s"), name, id);
    let both = stored(Some(&name), Some("abc"));
    let rest = [
        "[overlay@/s]localhost/x:v1",
        "[overlay@/s]localhost/x",
        "[overlay@/s]localhost",
        "[overlay@/s]",
        "[/s]",
    ];
    assert_eq!(both.scopes()[0], "[overlay@/s]localhost/x:v1@abc");
    assert_eq!(both.scopes()[1..], rest);
    assert_eq!(stored(Some(&name), None).scopes(), rest);
    assert_eq!(stored(None, Some("abc")).scopes(), ["[overlay@/s]@abc", "[overlay@/s]", "[/s]"]);
}

#[test]
fn all_requirements_of_a_list_must_hold() {
    let both = r#"[{"type":"insecureAcceptAnything"},{"type":"reject"}]"#;
    let error = policy(both, "{}").admit(&registry("debian")).unwrap_err();
    assert!(matches!(error, PolicyError::Rejected { scope: Scope::Default, .. }), "{error}");
    let signed = r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}"#;
    let with = |list: &str| policy(ACCEPT, &format!(r#"{{"docker":{{"":[{list}]}}}}"#)).admit(&registry("x"));
    // That it is forbidden says more than that a signature is not looked at.
    let rejected = with(&format!(r#"{signed},{{"type":"reject"}}"#));
    assert!(matches!(rejected, Err(PolicyError::Rejected { scope: Scope::Transport(_), .. })));
    let unchecked = with(&format!(r#"{{"type":"insecureAcceptAnything"}},{signed}"#));
    assert!(matches!(unchecked, Err(PolicyError::Unchecked { requirement: "signedBy", .. })));
}

#[test]
fn errors_name_all_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.json");
    let text = |docker: &str| {
        std::fs::write(&path, format!(r#"{{"default":{ACCEPT},"transports":{{"docker":{docker}}}}}"#))
            .unwrap();
        let policy = Policy::load(&Environment::default(), Some(&path)).unwrap();
        policy.admit(&registry("x.y/z")).unwrap_err()
    };
    let rejected = text(&format!(r#"{{"x.y":{REJECT}}}"#));
    assert_eq!(
        rejected.to_string(),
        format!("docker://x.y/z:latest is rejected by the policy {}, in docker: `x.y`", path.display())
    );
    let unchecked = text(r#"{"":[{"type":"composefs","certPath":"/c"}]}"#);
    let place = "demands composefs in the default of docker:, which is not checked yet";
    assert!(unchecked.to_string().ends_with(place), "{unchecked}");
    assert!(rejected.hint().is_some() && unchecked.hint().is_some());
}

#[test]
fn one_file_counts_the_users_first() {
    let dir = tempfile::tempdir().unwrap();
    let environment = Environment::default().variable("HOME", dir.path().join("home")).root(dir.path());
    let load = || Policy::load(&environment, None);
    let write = |path: &str, default: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!(r#"{{"default":{default}}}"#)).unwrap();
    };
    let none = load().unwrap();
    assert_eq!(none.path(), None);
    none.admit(&registry("debian")).unwrap();
    write("etc/containers/policy.json", REJECT);
    assert!(load().unwrap().admit(&registry("debian")).is_err());
    write("home/.config/containers/policy.json", ACCEPT);
    load().unwrap().admit(&registry("debian")).unwrap();
    write("home/.config/containers/policy.json", "[]");
    assert!(matches!(load(), Err(PolicyError::File { .. })), "no way around a file that is broken");
    let missing = dir.path().join("missing");
    assert!(matches!(Policy::load(&environment, Some(&missing)), Err(PolicyError::NoSuchFile(_))));
    // What is too large, or no file, is not taken for none.
    std::fs::File::create(dir.path().join("large")).unwrap().set_len(FILE_MAX + 1).unwrap();
    for odd in [dir.path(), &dir.path().join("large")] {
        assert!(matches!(Policy::load(&environment, Some(odd)), Err(PolicyError::Io(_))));
    }
}

#[test]
fn requirements_of_all_types() {
    for good in [
        r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":["/a","/b"],"signedIdentity":{"type":"matchExact"}}"#,
        r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchRepository"}}"#,
        r#"{"type":"sigstoreSigned","keyData":"aw==","rekorPublicKeyPath":"/r"}"#,
        r#"{"type":"sigstoreSigned","keyDatas":["aw==","aw=="]}"#,
        r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyData":"aw=="}"#,
        r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c","caIntermediatesData":"aw==","subjectHostname":"h"}}"#,
        r#"{"type":"composefs","certPath":"/c"}"#,
        r#"{"type":"composefs","certData":"aw=="}"#,
    ] {
        one(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in [
        r#"{"type":"signedBy","keyPath":"/a"}"#,
        r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":null}"#,
        r#"{"type":"signedBy","keyType":"GPGKeys","keyPath":"/a","certPath":"/c"}"#,
        r#"{"type":"signedBy","keyType":"GPGKeys","keyPaths":[]}"#,
        r#"{"type":"reject","keyPath":"/a"}"#,
        r#"{"type":"signedBaseLayer"}"#,
        r#"{"type":"sigstoreSigned","keyPath":"/a","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}"#,
        r#"{"type":"sigstoreSigned","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}}"#,
        r#"{"type":"sigstoreSigned","fulcio":{"oidcIssuer":"i","subjectEmail":"e"},"rekorPublicKeyData":"aw=="}"#,
        r#"{"type":"sigstoreSigned","pki":{"caRootsPath":"/c"}}"#,
        r#"{"type":"composefs"}"#,
        r#"{"type":"composefs","certPath":"/c","certPaths":["/c"]}"#,
        r#"{"type":"composefs","certPath":""}"#,
    ] {
        assert!(one(bad).is_err(), "{bad}");
    }
    let nested = format!(r#"{{"default":{}"#, "[".repeat(100_000));
    assert!(Policy::parse(nested.as_bytes()).is_err());
}
