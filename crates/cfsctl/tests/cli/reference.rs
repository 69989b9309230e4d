use crate::lab::Session;

/// `docs/cli.md` is what the program says of itself; `INSTA_UPDATE=always` writes it anew.
#[test]
fn the_reference_is_current() {
    let made = Session::new().sandbox.bare(["util", "reference"]).success();
    let path = composefs_testkit::project("docs/cli.md");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always") {
        std::fs::write(&path, &made.stdout).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made.text(),
        "docs/cli.md is not what `cfsctl util reference` prints: run the test with INSTA_UPDATE=always and read the diff"
    );
}

/// First lines are one line of 79 columns without a full stop.
#[test]
fn first_lines_of_help_are_short() {
    let made = Session::new().sandbox.bare(["util", "reference"]).success();
    let mut lines = made.text().lines();
    let mut seen = 0;
    while let Some(line) = lines.next() {
        if line == "```text" {
            let first = lines.next().unwrap();
            let title = first.starts_with("Composefs repositories, and");
            assert!(title || (first.len() <= 79 && !first.ends_with('.')), "{first}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
