use super::*;

fn endpoints(conf: &str, reference: &str) -> Vec<String> {
    let conf = RegistriesConf::parse(conf).unwrap();
    let endpoints = conf.endpoints(&reference.parse().unwrap()).unwrap();
    let mark = |endpoint: &Endpoint| {
        let mirror = if endpoint.mirror { " mirror" } else { "" };
        let insecure = if endpoint.insecure { " insecure" } else { "" };
        format!("{}{mirror}{insecure}", endpoint.reference)
    };
    endpoints.iter().map(mark).collect()
}

fn short(conf: &RegistriesConf, name: &str) -> Result<Vec<String>, HostsError> {
    let resolved = conf.resolve_short(&name.parse().unwrap())?;
    Ok(resolved.iter().map(ToString::to_string).collect())
}

#[test]
fn without_settings_a_name_is_where_it_says() {
    assert_eq!(endpoints("", "quay.io/a/b:c"), ["quay.io/a/b:c"]);
    let conf = RegistriesConf::load(&Environment::default().root("/nonexistent"), None).unwrap();
    assert_eq!(short(&conf, "debian:12").unwrap(), ["docker.io/library/debian:12"]);
    let hub = conf.endpoints(&"debian".parse().unwrap()).unwrap();
    assert_eq!(hub[0].api_host(), "registry-1.docker.io");
    let local = conf.endpoints(&"localhost:5000/debian".parse().unwrap()).unwrap();
    assert_eq!(local[0].api_host(), "localhost:5000");
}

#[test]
fn mirrors_come_first_and_the_longest_prefix_wins() {
    let conf = r#"
        unqualified-search-registries = ["registry.example", "docker.io"]
        unknown-setting = 1
        [[registry]]
        prefix = "quay.io"
        location = "internal.example:5000/quay"
        insecure = true
          [[registry.mirror]]
          location = "mirror.example/x/"
          [[registry.mirror]]
          location = "mirror.example:1"
          insecure = true
          pull-from-mirror = "digest-only"
          [[registry.mirror]]
          location = "mirror.example/tags"
          pull-from-mirror = "tag-only"
        [[registry]]
        location = "quay.io/team"
        [[registry]]
        prefix = "docker.io"
        location = "hub.example"
        mirror-by-digest-only = true
          [[registry.mirror]]
          location = "digests.example"
    "#;
    assert_eq!(
        endpoints(conf, "quay.io/a/b:c"),
        [
            "mirror.example/x/a/b:c mirror",
            "mirror.example/tags/a/b:c mirror",
            "internal.example:5000/quay/a/b:c insecure"
        ]
    );
    let digest = format!("@sha256:{}", "1".repeat(64));
    assert_eq!(
        endpoints(conf, &format!("quay.io/a{digest}")),
        [
            format!("mirror.example/x/a{digest} mirror"),
            format!("mirror.example:1/a{digest} mirror insecure"),
            format!("internal.example:5000/quay/a{digest} insecure")
        ]
    );
    assert_eq!(endpoints(conf, "quay.io/team/x"), ["quay.io/team/x:latest"]);
    assert_eq!(endpoints(conf, "quay.io/teams/x").len(), 3);
    assert_eq!(endpoints(conf, "debian"), ["hub.example/library/debian:latest"]);
    assert_eq!(
        endpoints(conf, &format!("debian:12{digest}")),
        [
            format!("digests.example/library/debian:12{digest} mirror"),
            format!("hub.example/library/debian:12{digest}")
        ]
    );
}

#[test]
fn wildcards() {
    let conf = r#"
        [[registry]]
        prefix = "*.example.com"
        location = "in.side/x"
        [[registry]]
        prefix = "*.b.example.com"
        insecure = true
        [[registry]]
        prefix = "c.b.example.com"
        location = "exact.side"
        [[registry]]
        prefix = "port.example"
        location = "other.example"
    "#;
    assert_eq!(endpoints(conf, "a.example.com:5000/y"), ["in.side/x/y:latest"]);
    assert_eq!(endpoints(conf, "example.com/y"), ["example.com/y:latest"]);
    assert_eq!(endpoints(conf, "a.example.community/y"), ["a.example.community/y:latest"]);
    assert_eq!(endpoints(conf, "a.b.example.com/y"), ["a.b.example.com/y:latest insecure"]);
    assert_eq!(endpoints(conf, "c.b.example.com/y"), ["exact.side/y:latest"]);
    // As skopeo 1.9.3: a host's prefix has all its ports.
    assert_eq!(endpoints(conf, "port.example:5000/y"), ["other.example:5000/y:latest"]);
}

#[test]
fn blocked_and_broken() {
    let conf = RegistriesConf::parse("[[registry]]\nlocation = \"x.y/z\"\nblocked = true\n").unwrap();
    let error = conf.endpoints(&"x.y/z/a".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "x.y/z/a is blocked: registries.conf says so for `x.y/z`");
    assert!(conf.endpoints(&"x.y/zz".parse().unwrap()).is_ok());
    let conf = RegistriesConf::parse("[[registry]]\nprefix = \"x.y\"\nlocation = \"nodot\"\n").unwrap();
    let error = conf.endpoints(&"x.y/z".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "registries.conf turns x.y/z into `nodot/z`");
}

#[test]
fn what_is_refused() {
    for (text, error) in [
        ("x = ", "line 1: "),
        ("\n\nshort-name-mode = 1", "line 3: "),
        ("short-name-mode = \"x\"", "short-name-mode: unknown value `x`"),
        ("[[registry]]\nblocked = true", "a [[registry]] has neither prefix nor location"),
        ("[[registry]]\nprefix = \"y\"", "[[registry]] `y` has no location"),
        ("[[registry]]\nprefix = \"*.a.b:5000\"\nlocation = \"x\"", "`*.a.b:5000` is no prefix"),
        ("[[registry]]\nprefix = \"a.*\"\nlocation = \"x\"", "`a.*` is no prefix"),
        ("[[registry]]\nlocation = \"*.a.b\"", "`*.a.b` is no location"),
        ("[[registry]]\nlocation = \"https://x\"", "`https://x` is no location"),
        (
            "[[registry]]\nlocation = \"x\"\n[[registry]]\nlocation = \"x\"\nblocked = true",
            "[[registry]] `x` is there twice",
        ),
        ("[[registry]]\nlocation = \"x\"\n[[registry.mirror]]\ninsecure = true", "`` is no location"),
        (
            "[[registry]]\nlocation = \"x\"\n[[registry.mirror]]\nlocation = \"y\"\npull-from-mirror = \"z\"",
            "pull-from-mirror: unknown value `z`",
        ),
        (
            "[[registry]]\nlocation = \"x\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"y\"\npull-from-mirror = \"all\"",
            "[[registry]] `x` has mirror-by-digest-only, and a mirror of it pull-from-mirror",
        ),
        ("unqualified-search-registries = [\"x/y\"]", "unqualified-search-registries: `x/y` is no registry"),
        ("[aliases]\na = \"b\"", "alias `a` = `b`: "),
        ("[aliases]\na = \"q.io/b:tag\"", "alias `a` = "),
        ("[aliases]\n\"q.io/a\" = \"q.io/b\"", "alias `q.io/a` = "),
        (
            "[registries.search]\nregistries = [\"x\"]\n[[registry]]\nlocation = \"x\"",
            "the tables [registries.search]",
        ),
    ] {
        let found = Layer::parse(text).unwrap_err().to_string();
        assert!(found.starts_with(error), "{text}\n{found}");
    }
}

#[test]
fn the_old_form_alone_is_understood() {
    let conf = "[registries.search]\nregistries = [\"s.io\"]\n[registries.insecure]\nregistries = [\"i.io\", \"b.io\"]\n[registries.block]\nregistries = [\"b.io\"]\n";
    assert_eq!(endpoints(conf, "i.io/x"), ["i.io/x:latest insecure"]);
    let conf = RegistriesConf::parse(conf).unwrap();
    assert!(matches!(conf.endpoints(&"b.io/x".parse().unwrap()), Err(HostsError::Blocked { .. })));
    assert_eq!(short(&conf, "x:1").unwrap(), ["s.io/x:1"]);
}

#[test]
fn short_names() {
    let settings = |mode: &str| {
        RegistriesConf::parse(&format!(
            "unqualified-search-registries = [\"a.io\", \"docker.io\"]\nshort-name-mode = \"{mode}\"\n\
             [aliases]\nfedora = \"registry.example/os/fedora\"\n\"team/x\" = \"docker.io/y\"\n"
        ))
        .unwrap()
    };
    let enforcing = settings("enforcing");
    assert_eq!(short(&enforcing, "fedora:40").unwrap(), ["registry.example/os/fedora:40"]);
    assert_eq!(short(&enforcing, "team/x").unwrap(), ["docker.io/library/y:latest"]);
    let error = short(&enforcing, "debian").unwrap_err();
    assert_eq!(error.to_string(), "`debian` is a short name that 2 registries may have");
    assert_eq!(error.hint().unwrap(), "say one of a.io/debian:latest, docker.io/library/debian:latest");
    for mode in ["permissive", "disabled"] {
        assert_eq!(short(&settings(mode), "d:1").unwrap(), ["a.io/d:1", "docker.io/library/d:1"]);
    }
    let none = RegistriesConf::parse("").unwrap();
    assert_eq!(
        short(&none, "debian").unwrap_err().to_string(),
        "`debian` is a short name: it has no alias, and no registry is searched"
    );
}

#[test]
fn files_and_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let aliases = |pairs: &[(&str, &str)]| {
        let lines = pairs.iter().map(|(name, place)| format!("{name} = \"{place}\"\n"));
        format!("[aliases]\n{}", lines.collect::<String>())
    };
    let environment =
        Environment::default().root(dir.path()).variable("HOME", dir.path().join("home")).uid(1000);
    let load = |path: Option<&Path>| RegistriesConf::load(&environment, path).unwrap();
    write(
        "etc/containers/registries.conf",
        &aliases(&[("a", "main.io/a"), ("b", "main.io/b"), ("c", "main.io/c")]),
    );
    write("etc/containers/registries.conf.d/2.conf", &aliases(&[("a", "two.io/a"), ("c", "")]));
    write("etc/containers/registries.conf.d/1.conf", &aliases(&[("a", "one.io/a"), ("d", "one.io/d")]));
    write("etc/containers/registries.conf.d/3.conf.off", "nonsense");
    assert_eq!(short(&load(None), "a").unwrap(), ["two.io/a:latest"]);
    assert_eq!(short(&load(None), "b").unwrap(), ["main.io/b:latest"]);
    assert!(matches!(short(&load(None), "c"), Err(HostsError::NoCandidate(_))));
    // What the user drops in comes last; what the user recorded comes before all.
    write(
        "home/.config/containers/registries.conf.d/x.conf",
        &aliases(&[("d", "user.io/d"), ("b", "user.io/b")]),
    );
    write("home/.cache/containers/short-name-aliases.conf", &aliases(&[("b", "recorded.io/b")]));
    assert_eq!(short(&load(None), "d").unwrap(), ["user.io/d:latest"]);
    assert_eq!(short(&load(None), "b").unwrap(), ["recorded.io/b:latest"]);
    // A file of the user's takes the place of all the system has.
    write("home/.config/containers/registries.conf", "");
    assert!(matches!(short(&load(None), "a"), Err(HostsError::NoCandidate(_))));
    assert_eq!(short(&load(None), "d").unwrap(), ["user.io/d:latest"]);
    // So does one that is given, but for drop-ins.
    write("given.conf", &aliases(&[("e", "given.io/e"), ("a", "given.io/a")]));
    let given = load(Some(&dir.path().join("given.conf")));
    assert_eq!(short(&given, "e").unwrap(), ["given.io/e:latest"]);
    assert_eq!(short(&given, "a").unwrap(), ["two.io/a:latest"]);
    let error = RegistriesConf::load(&environment, Some(Path::new("/nonexistent"))).unwrap_err();
    assert!(matches!(error, HostsError::NoSuchFile(_)));
    write("etc/containers/registries.conf.d/4.conf", "x = [");
    let environment = environment.variable("CONTAINERS_REGISTRIES_CONF", dir.path().join("given.conf"));
    let error = RegistriesConf::load(&environment, None).unwrap_err();
    assert!(error.to_string().ends_with("registries.conf.d/4.conf"), "{error}");
}
