use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::{digest::ConfigDigest, digest::Digest, model::Config};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nweb:x:33:33:web:/var/www:/usr/sbin/nologin\n\
    +nis\nbroken:x:many:1:::\n1000:x:4242:4243:a name of digits:/home/digits:\n";
const GROUP: &str = "root:x:0:\nwww:x:33:\nlog:x:4:web, root\nssl:x:110:web\ntwice:x:110:web\n";

struct Files(BTreeMap<&'static str, &'static str>);

impl ImageFiles for Files {
    fn read(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(path).map(|text| text.as_bytes().to_vec()))
    }

    fn is_directory(&self, _: &str) -> bool {
        false
    }
}

fn files() -> Files {
    Files([("/etc/passwd", PASSWD), ("/etc/group", GROUP)].into())
}

fn config(settings: &Value) -> Config {
    let document = json!({
        "architecture": "amd64", "os": "linux", "author": "somebody", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let bytes = serde_json::to_vec(&document).unwrap();
    let digest = ConfigDigest::new(Digest::sha256(&bytes));
    Config::parse_as(bytes, digest).unwrap()
}

fn spec(settings: &Value, options: &BundleOptions) -> Result<Value, Error> {
    let bytes = config_json(&config(settings), &files(), "rootfs", options)?;
    assert_eq!(bytes, config_json(&config(settings), &files(), "rootfs", options)?, "the same bytes again");
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn options(change: impl FnOnce(&mut BundleOptions)) -> BundleOptions {
    let mut options = BundleOptions { network: Network::None, ..BundleOptions::default() };
    change(&mut options);
    options
}

#[test]
fn users_are_looked_up_as_other_tools_do() {
    let look = |text: &str| user::look_up(text, PASSWD.as_bytes(), GROUP.as_bytes());
    for (text, uid, gid, groups, home) in [
        ("", 0, 0, vec![4], Some("/root")),
        ("root", 0, 0, vec![4], Some("/root")),
        ("web", 33, 33, vec![4, 110], Some("/var/www")),
        ("33", 33, 33, vec![4, 110], Some("/var/www")),
        ("web:ssl", 33, 110, vec![], Some("/var/www")),
        ("web:7", 33, 7, vec![], Some("/var/www")),
        (":log", 0, 4, vec![], Some("/root")),
        ("77", 77, 0, vec![], None),
        ("77:88", 77, 88, vec![], None),
        ("1000", 4242, 4243, vec![], Some("/home/digits")),
        ("4294967294", 4_294_967_294, 0, vec![], None),
    ] {
        let account = look(text).unwrap();
        assert_eq!(
            (account.uid, account.gid, account.groups, account.home.as_deref()),
            (uid, gid, groups, home),
            "{text}"
        );
    }
    assert!(matches!(look("nobody"), Err(BundleError::NoSuchUser { user }) if user == "nobody"));
    assert!(matches!(look("broken"), Err(BundleError::NoSuchUser { .. })));
    assert!(matches!(look("web:none"), Err(BundleError::NoSuchGroup { group }) if group == "none"));
    for text in ["4294967295", "99999999999999999999", "0:4294967295"] {
        assert!(matches!(look(text), Err(BundleError::NoSuchId { .. })), "{text}");
    }
}

#[test]
fn entry_point_and_command_are_joined() {
    let image = json!({"Entrypoint": ["/entry", "a"], "Cmd": ["b"]});
    let of =
        |change: fn(&mut BundleOptions)| spec(&image, &options(change)).unwrap()["process"]["args"].clone();
    assert_eq!(of(|_| ()), json!(["/entry", "a", "b"]));
    assert_eq!(of(|options| options.command = vec!["c".to_owned()]), json!(["/entry", "a", "c"]));
    assert_eq!(of(|options| options.entrypoint = Some(vec!["/own".to_owned()])), json!(["/own"]));
    assert_eq!(
        of(|options| {
            options.entrypoint = Some(Vec::new());
            options.command = vec!["sh".to_owned()];
        }),
        json!(["sh"])
    );
    for image in [json!({}), json!({"Entrypoint": [], "Cmd": null}), json!({"Cmd": [""]})] {
        let error = spec(&image, &options(|_| ())).unwrap_err();
        assert!(matches!(error, Error::Bundle(BundleError::NoProgram)), "{error}");
    }
}

#[test]
fn variables_keep_their_place_and_take_the_last_value() {
    let image = json!({"Cmd": ["x"], "User": "web", "Env": ["A=1", "PATH=/bin", "NAME_ALONE", "A=2"]});
    let wishes = options(|options| {
        options.env = vec!["B=".to_owned(), "PATH=/opt".to_owned()];
        options.terminal = true;
    });
    assert_eq!(
        spec(&image, &wishes).unwrap()["process"]["env"],
        json!([
            "PATH=/opt",
            "HOSTNAME=container",
            "container=oci",
            "TERM=xterm",
            "A=2",
            "B=",
            "HOME=/var/www"
        ])
    );
    for bad in ["=x", "x", "A=\0"] {
        let wishes = options(|options| options.env = vec![bad.to_owned()]);
        let error = spec(&image, &wishes).unwrap_err();
        assert!(matches!(error, Error::Bundle(BundleError::Variable { .. })), "{error}");
    }
}

#[test]
fn an_images_settings_are_annotations_unless_a_label_says_otherwise() {
    let image = json!({
        "Cmd": ["x"], "StopSignal": "SIGQUIT", "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
        "Labels": {"org.opencontainers.image.author": "the label", "own": "1", "": "dropped"},
    });
    let list = spec(&image, &options(|_| ())).unwrap()["annotations"].clone();
    assert_eq!(list["org.opencontainers.image.stopSignal"], "SIGQUIT");
    assert_eq!(list["org.opencontainers.image.exposedPorts"], "443/tcp,80/tcp");
    assert_eq!(list["org.opencontainers.image.author"], "the label");
    assert_eq!(list["org.opencontainers.image.os"], "linux");
    assert_eq!(list["own"], "1");
    assert_eq!(list.as_object().unwrap().len(), 6);
}

#[test]
fn a_root_that_cannot_be_changed_has_volumes_that_can() {
    let image = json!({"Cmd": ["x"], "Volumes": {"/data": {}, "/cache": {}}});
    let mounted = |wishes: &BundleOptions| -> Vec<String> {
        let spec = spec(&image, wishes).unwrap();
        assert_eq!(spec["root"], json!({"path": "rootfs", "readonly": wishes.read_only}));
        let list = spec["mounts"].as_array().unwrap();
        list.iter()
            .map(|mount| format!("{}={}", mount["destination"].as_str().unwrap(), mount["type"]))
            .collect()
    };
    assert!(!mounted(&options(|_| ())).iter().any(|mount| mount.starts_with("/data")));
    let wishes = options(|options| {
        options.read_only = true;
        options.volumes = vec![Volume {
            source: "/srv".into(),
            destination: "/cache".to_owned(),
            access: VolumeAccess::ReadOnly,
        }];
    });
    let list = mounted(&wishes);
    assert_eq!(list[list.len() - 2..], ["/data=\"tmpfs\"", "/cache=\"none\""]);
    for path in ["relative", "", "/a\0"] {
        let error = spec(&json!({"Cmd": ["x"], "Volumes": {path: {}}}), &wishes).unwrap_err();
        assert!(matches!(error, Error::Bundle(BundleError::NotAbsolute { .. })), "{error}");
    }
}

#[test]
fn capabilities_are_the_default_ones_unless_told() {
    let image = json!({"Cmd": ["x"]});
    let of = |change: fn(&mut BundleOptions)| {
        spec(&image, &options(change)).unwrap()["process"]["capabilities"].clone()
    };
    let usual = of(|_| ());
    assert_eq!(usual["bounding"].as_array().unwrap().len(), 11);
    assert_eq!(usual["effective"], usual["bounding"]);
    let other = of(|options| {
        options.user = Some("web".to_owned());
        options.add_capabilities = vec!["cap_net_raw".to_owned()];
        options.drop_capabilities = vec!["ALL".to_owned()];
    });
    assert_eq!((&other["bounding"], &other["effective"]), (&json!(["CAP_NET_RAW"]), &json!([])));
    let all = of(|options| options.add_capabilities = vec!["all".to_owned()]);
    assert_eq!(all["bounding"].as_array().unwrap().len(), 41);
    let wishes = options(|options| options.add_capabilities = vec!["FLY".to_owned()]);
    assert!(
        matches!(spec(&image, &wishes), Err(Error::Bundle(BundleError::Capability { name })) if name == "FLY")
    );
}

#[test]
fn namespaces_follow_the_wishes() {
    let image = json!({"Cmd": ["x"]});
    let of = |wishes: &BundleOptions| {
        let spec = spec(&image, wishes).unwrap();
        let list = spec["linux"]["namespaces"].as_array().unwrap().clone();
        list.iter().map(|one| one["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(&options(|_| ())), "pid ipc uts mount cgroup network");
    let within = |uids, gids| options(|options| options.namespace = Some(UserNamespace { uids, gids }));
    assert_eq!(of(&within(65_537, 65_537)), "pid ipc uts mount network");
    let user = |wishes: &BundleOptions| Ok::<_, Error>(spec(&image, wishes)?["process"]["user"].clone());
    assert_eq!(user(&within(65_537, 65_537)).unwrap(), json!({"uid": 0, "gid": 0, "additionalGids": [4]}));
    assert_eq!(user(&within(1, 1)).unwrap(), json!({"uid": 0, "gid": 0, "additionalGids": []}));
    let other = BundleOptions { user: Some("web".to_owned()), ..within(34, 33) };
    assert!(matches!(user(&other), Err(Error::Bundle(BundleError::NotMapped { id: 33, limit: 33 }))));
    assert_eq!(of(&options(|options| options.network = Network::Host)), "pid ipc uts mount cgroup");
}

fn calls(place: &str, text: &[u8], capabilities: &[&str]) -> Value {
    let capabilities: BTreeSet<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
    serde_json::to_value(seccomp::decide(place, text, &capabilities).unwrap()).unwrap()
}

#[test]
fn the_conditions_of_a_profile_are_decided() {
    let profile = br#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "", "includes": {}, "excludes": {}},
        {"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["other"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["mips"]}},
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}]}"#;
    let names = |capabilities: &[&str]| -> Vec<String> {
        let decided = calls("a profile", profile, capabilities);
        assert_eq!(decided["defaultErrnoRet"], 38);
        let list = decided["syscalls"].as_array().unwrap();
        list.iter().map(|rule| format!("{} {}", rule["names"], rule["action"])).collect()
    };
    let without = names(&["CHOWN"]);
    assert_eq!(without.len(), 3, "{without:?}");
    assert!(without[1].contains("mount") && without[1].contains("ERRNO"));
    let with = names(&["SYS_ADMIN"]);
    assert!(with.len() == 3 && with[1].contains("ALLOW"), "{with:?}");

    for (text, reason) in [
        (&b"{"[..], "EOF"),
        (br#"{"defaultAction": "SCMP_ACT_FLY"}"#, "SCMP_ACT_FLY"),
        (
            br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}"#,
            "no system call",
        ),
        (&[b' '; seccomp::PROFILE_MAX + 1], "more than"),
    ] {
        let error = seccomp::decide("here", text, &BTreeSet::new()).unwrap_err().to_string();
        assert!(error.contains("here") && error.contains(reason), "{error}");
    }
}

#[test]
fn the_profile_built_in_refuses_what_reaches_the_machine() {
    let refused = |capabilities: &[&str]| -> BTreeSet<String> {
        let decided = calls("built in", seccomp::BUILT_IN, capabilities);
        assert_eq!(decided["defaultAction"], "SCMP_ACT_ALLOW");
        let rules = decided["syscalls"].as_array().unwrap().clone();
        let names = rules.iter().flat_map(|rule| rule["names"].as_array().unwrap());
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let usual = refused(&["CHOWN", "SYS_CHROOT"]);
    for name in
        ["kexec_load", "init_module", "bpf", "mount", "unshare", "clone", "keyctl", "settimeofday", "setns"]
    {
        assert!(usual.contains(name), "{name}");
    }
    for name in ["read", "execve", "chroot", "ptrace", "fork", "prctl", "seccomp", "openat2"] {
        assert!(!usual.contains(name), "{name}");
    }
    let powerful = refused(&["SYS_ADMIN"]);
    assert!(!powerful.contains("mount") && !powerful.contains("clone") && powerful.contains("kexec_load"));
}
