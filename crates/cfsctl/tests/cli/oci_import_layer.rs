use composefs_testkit::sample;
use insta::assert_snapshot;

use crate::lab::{Session, hex, sample_layers};

#[test]
fn a_tar_on_stdin() {
    let mut session = Session::with_repository();
    let [lower, upper] = sample_layers();
    session.see_fed(sample::lower(), ["oci", "import-layer", &lower]);
    session.see_fed(sample::upper(), ["oci", "import-layer", hex(&upper), "some/layer"]);
    assert!(session.run(["cat", "refs/some/layer"]).success().stdout == sample::upper());
    // A layer that is here is not read again.
    session.see_fed("", ["oci", "import-layer", &lower, "named/now"]);
    session.see_fed(sample::lower(), ["oci", "import-layer", &format!("sha256:{}", "0".repeat(64)), "bad"]);
    session.see_fed("no tar", ["oci", "import-layer", &format!("sha256:{}", "1".repeat(64)), "bad"]);
    session.see_fed("", ["oci", "import-layer", "nonsense"]);
    session.see_fed(sample::lower(), ["oci", "import-layer", &lower, "../escape"]);
    session.see(["cat", "refs/bad"]);
    session.see(["gc", "-n"]);
    session.see(["fsck", "--deep"]);
    assert_snapshot!(session.text());
}
