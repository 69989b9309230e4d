use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn scripts_for_every_shell() {
    let mut session = Session::new();
    for (shell, sign) in
        [("bash", "complete -F _cfsctl"), ("zsh", "#compdef cfsctl"), ("fish", "complete -c cfsctl")]
    {
        let output = session.sandbox.bare(["completion", shell]).success();
        assert!(output.text().contains(sign), "{shell}");
        for verb in ["oci", "fsck", "compute-id"] {
            assert!(output.text().contains(verb), "{shell}: {verb}");
        }
    }
    session.see_bare(["completion", "no-shell"]);
    session.see_bare(["completion"]);
    assert_snapshot!(session.text());
}

/// Bash takes the script, where there is a bash.
#[test]
fn bash_accepts_the_script() {
    let Some(bash) = composefs_testkit::peers::program_or_skip("bash") else { return };
    let session = Session::new();
    let script = session.sandbox.bare(["completion", "bash"]).success();
    let run =
        session.sandbox.invocation_of(bash).args(["--norc", "-c", "source /dev/stdin && type -t _cfsctl"]);
    assert_eq!(run.stdin(script.stdout).run().success().text(), "function\n");
}

#[test]
fn the_program_itself_answers_the_shell() {
    let session = Session::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = session.sandbox.invocation().env("COMPLETE", shell).run().success();
        assert!(output.text().contains("cfsctl"), "{shell}");
    }
    let asked = session.sandbox.invocation().env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "1");
    let asked =
        asked.env("_CLAP_COMPLETE_SPACE", "true").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
    assert_eq!(
        asked.args(["--", "cfsctl", "comp"]).run().success().text(),
        "compute-id\ncompute-karg\ncompletion"
    );
}

/// Wherever an image that is here is asked for.
#[test]
fn tags_are_completed() {
    let session = Session::with_sample();
    let verbs =
        "push inspect ls cat extract diff untag rm save history seal sign verify mount run bundle fsck";
    let verbs = verbs.split(' ').map(|verb| vec!["oci", verb]).chain([vec!["du"]]);
    for verb in verbs {
        let repo = format!("--repo={}", session.sandbox.repo().display());
        let words = [&["--", "cfsctl", &repo][..], &verb, &["sam"]].concat();
        let place = (words.len() - 2).to_string();
        let asked = session.sandbox.invocation().env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", &place);
        let asked = asked.env("_CLAP_COMPLETE_SPACE", "true").env("_CLAP_IFS", "\n");
        let asked = asked.env("_CLAP_COMPLETE_COMP_TYPE", "9");
        let output = asked.args(&words).run().success();
        assert_eq!(output.text(), "sample", "{verb:?}");
    }
}
