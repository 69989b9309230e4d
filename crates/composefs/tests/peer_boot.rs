//! Bootable trees beside cfsctl 0.9; skipped where it is not installed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
    process::Command,
};

use composefs::{
    digest::Algorithm,
    dumpfile,
    filetree::{
        TransformOptions,
        boot::{BootError, BootLimits, boot_transform},
    },
    progress::Silent,
    scan::{Objects, scan},
};
use rustix::fs::{CWD, Mode, mkfifoat};

/// Every name under these directories is labelled by something, and some by several.
const DIRECTORIES: &[&str] = &[
    "usr/bin",
    "usr/lib/modules/6.1",
    "usr/libexec",
    "usr/lib64",
    "etc/ssh",
    "var/log/x",
    "home/me/.ssh",
    "run/x",
    "boot/efi",
    "sysroot/ostree",
    "opt/a/b/c",
    "odd",
];
const NAMES: &[&str] =
    &["x", "bash", "lib.so", "lib.so.1.2", "a[", "a{", "café", "New\nline", "key_rsa.pub", "9"];

fn tree(root: &Path) {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory)).unwrap();
        for name in NAMES {
            fs::write(root.join(directory).join(name), name.repeat(9)).unwrap();
        }
        symlink("x", root.join(directory).join("link")).unwrap();
        mkfifoat(CWD, root.join(directory).join("pipe"), Mode::from_raw_mode(0o600)).unwrap();
    }
    fs::write(root.join("odd").join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), b"").unwrap();
    for link in ["usr/bin/bash2", "etc/bash", "opt/bash", "usr/lib64/bash3", "boot/bash", "odd/bash3", "zz"] {
        fs::hard_link(root.join("usr/bin/bash"), root.join(link)).unwrap();
    }
    for link in ["b", "usr/lib/b", "usr/lib/modules/b", "odd/b"] {
        fs::hard_link(root.join("odd/x"), root.join(link)).unwrap();
    }
}

fn policy(root: &Path, files: &[(&str, &str)]) {
    let directory = root.join("etc/selinux/targeted/contexts/files");
    fs::create_dir_all(&directory).unwrap();
    fs::write(root.join("etc/selinux/config"), "# comment\n\nSELINUX=disabled\n selinuxtype = targeted \n")
        .unwrap();
    for (suffix, text) in files {
        fs::write(directory.join(format!("file_contexts{suffix}")), text).unwrap();
    }
}

fn ours(root: &Path) -> Result<String, BootError> {
    let mut tree = scan(CWD, root, Objects::Compute(Algorithm::Sha512), &Silent).unwrap().tree;
    tree.transform_for_oci(TransformOptions::default()).unwrap();
    let mut read = |path: &[&[u8]], _: &_| {
        let path: std::path::PathBuf = path.iter().map(|name| std::ffi::OsStr::from_bytes(name)).collect();
        fs::read(root.join(path))
    };
    boot_transform(&mut tree, &mut read, &BootLimits::default())?;
    let mut out = Vec::new();
    dumpfile::write(&tree, &mut out).unwrap();
    Ok(String::from_utf8(out).unwrap())
}

/// Panics with the lines that differ.
fn compare(case: &str, ours: &str, theirs: &str) {
    let differ = ours.lines().zip(theirs.lines()).filter(|(ours, theirs)| ours != theirs);
    let text: String = differ.map(|(ours, theirs)| format!("\n-{ours}\n+{theirs}")).collect();
    assert!(text.is_empty() && ours.len() == theirs.len(), "{case}{text}");
}

/// The peer's dumpfile, or nothing where it refuses.
fn theirs(cfsctl: &Path, root: &Path) -> Option<String> {
    let output = Command::new(cfsctl)
        .args(["--no-repo", "--hash", "sha512", "create-dumpfile", "--bootable"])
        .arg(root)
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

const CONTEXTS: &str = "\
# The first lines lose against the last.
/usr/bin/bash\t--\tu:o:never
/.*\tu:o:default
/\t-d\tu:o:root
/usr(/.*)?\tu:o:usr
/usr/bin(/.*)?  u:o:bin
/usr/bin/bash\t--\tu:o:shell
/usr/lib(64)?/.*\\.so(\\.[^/]*)*\t--\tu:o:lib
/usr/(.*/)?modules(/.*)?\tu:o:modules
/(usr/)?libexec/x|/opt/.*/x\tu:o:either
/.*/\\.ssh/key_[a-z]+\\.pub\t--\tu:o:key
/.*/pipe\t-p\tu:o:pipe
/usr/.*/link -l u:o:link
/boot(/.*)?\tu:o:boot
/sysroot(/.*)?\t<<none>>
/var/log/.*\t--\t<<none>>
/opt/a/b/c/a[[] u:o:pcre
/opt/a/b/c/a{ u:o:brace
/opt/a/.*/caf. u:o:one
/opt/a/.*/caf.. u:o:two
/opt/a/.*/New.line u:o:newline
/opt/[[:alnum:]&&b]/b/[[:digit:]] u:o:posix
/odd/. u:o:dot
/odd/\\d u:o:digit
/odd/\\141\\{? u:o:octal
/odd/\\QNew\\E.* u:o:quoted
/odd(/\\xff\\xfe)? u:o:odd
";

#[test]
fn labels_are_the_same() {
    let Some(cfsctl) = composefs_testkit::peers::cfsctl_or_skip() else { return };
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("", "")],
        &[("", CONTEXTS)],
        &[
            ("", CONTEXTS),
            (".local", "/etc/ssh/x -- u:o:local\n/usr/bin/x u:o:local\n/home/[^/]+ -d u:o:local\n"),
            (".homedirs", "/home/[^/]+ -d u:o:home\n/home/me/.+ u:o:mine\n"),
        ],
        &[
            ("", CONTEXTS),
            (".subs", "/opt /usr\n/usr/libexec /usr/bin\n"),
            (
                ".subs_dist",
                "/home/me /var/log\n/var/log/x /etc\n/usr/lib64 /usr/lib\n/etc/ssh/ /odd\n/ /usr\n/odd /\n",
            ),
        ],
        &[(
            "",
            "/usr/.* u:o:1\n/opt(/.*)? u:o:2\n/etc/bash u:o:1\n/usr/lib64/.* u:o:2\n/usr/lib/.* <<none>>\n/b u:o:3\n/odd/b u:o:3\n",
        )],
    ];
    for files in cases {
        let directory = tempfile::tempdir().unwrap();
        tree(directory.path());
        if !files.is_empty() {
            policy(directory.path(), files);
        }
        let ours = ours(directory.path()).unwrap();
        compare(&format!("{files:?}"), &ours, &theirs(&cfsctl, directory.path()).unwrap());
    }
}

#[test]
fn refusals_are_the_same() {
    let Some(cfsctl) = composefs_testkit::peers::cfsctl_or_skip() else { return };
    for line in [
        "/x",
        "/x -- ",
        "/x -z u:o:l",
        "/x u:o:l more",
        "/x -- u:o:l more",
        "/(x u:o:l",
        "/\\y u:o:l",
        "/[z-a] u:o:l",
        "/a{3,2} u:o:l",
    ] {
        let directory = tempfile::tempdir().unwrap();
        tree(directory.path());
        policy(directory.path(), &[("", line)]);
        assert!(matches!(ours(directory.path()), Err(BootError::Line { line: 1, .. })), "{line}");
        assert_eq!(theirs(&cfsctl, directory.path()), None, "{line}");
    }
}

#[test]
fn expressions_mean_the_same() {
    let Some(cfsctl) = composefs_testkit::peers::cfsctl_or_skip() else { return };
    // One tree for each: a refused expression would hide the others.
    let expressions = [
        "a{",
        "a{,2}",
        "[[]",
        "[a&&b]",
        "[a--b]",
        "\\<",
        "\\_",
        "[\\w-]",
        "[]a]",
        "a++",
        "\\Qa.b\\E",
        "[[:alpha:]]",
        "\\x41",
        "a{2}",
        "}",
        "]",
        "[^]a]",
        "[\\d]",
        "a#b",
        "(?i)a",
        "(?:a|b)",
        "(?#c)a",
        "a|",
        "()",
        "*",
        "a**",
        "+a",
        "\\101",
        "\\e",
        "a\\\\",
        "[a\\]b]",
        "~",
        "[~]",
        "[\\[]",
        "(?<n>a)",
        "(?P<n>a)",
        "a$b",
        "[[.a.]]",
        "[a-]",
        "a)(b",
        "a|)(b",
        "a).|(zz",
        "[a\\Qb-\\E]",
        "[[:^alpha:]]",
        "[[:foo:]]",
        "(?i:A)b",
        "[^\\n]",
        "^*a",
        "a{0}b",
        "\\x{41}",
        "[\\1]",
        "[\\8]",
        "((((a))))",
        "é+",
        "[é]",
        "[é]+",
        "(?i)[[]|é",
        "[[^]x",
        "a{x}",
        "{",
        "[[:alpha:][]",
        "x{1,",
        "[\\w[]",
        "\\x{141}",
    ];
    let names = [
        "a", "b", "&", "-", "aa", "ab", "axb", "a.b", "a{", "[", "_", "q", "]", "1", "A", "8", "}", "a#b",
        "ba", "+a", "a\\", "~", ":", "f", "é", "éé", "~x", "a{x}", "{", "x{1,", "\x1b",
    ];
    for expression in expressions {
        let directory = tempfile::tempdir().unwrap();
        for name in ["usr", "boot", "sysroot"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        for name in names {
            fs::write(directory.path().join("usr").join(name), "").unwrap();
        }
        policy(directory.path(), &[("", &format!("/usr/{expression} u:o:t\n"))]);
        let theirs = theirs(&cfsctl, directory.path());
        match ours(directory.path()) {
            Ok(ours) => compare(expression, &ours, &theirs.unwrap_or_default()),
            Err(error) => assert!(theirs.is_none(), "{expression}: {error:?}"),
        }
    }
}
