//! Random lists of steps.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};

use crate::{
    family::Kind,
    step::{self, Step},
    world::World,
};

/// How many lists everybody runs, in each of two tests.
const CASES: u32 = 24;

/// Does all steps of a list and compares everything at its end.
pub(crate) fn play(kind: Kind, steps: &[Step]) -> Result<()> {
    let mut world = World::new(kind);
    for (at, step) in steps.iter().enumerate() {
        world.apply(step).with_context(|| format!("step {at}, {step:?}"))?;
    }
    world.finish()
}

/// Another one each time.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).unwrap();
    seed
}

fn random_lists(sha512: bool) {
    let asked = std::env::var("COMPOSEFS_TEST_MODEL").ok();
    let asked = asked.map(|text| text.parse::<u32>().expect("COMPOSEFS_TEST_MODEL is a number"));
    // What everybody runs is the same everywhere; who asks for more gets others each time.
    let (cases, rng) = match asked {
        Some(cases) => (cases.div_ceil(2), TestRng::from_seed(RngAlgorithm::ChaCha, &seed())),
        None => (CASES, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model/regressions.txt"))),
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let outcome = TestRunner::new_with_rng(config, rng).run(&step::list(sha512), |(kind, steps)| {
        play(kind, &steps).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (kind, steps))) => {
            let steps: Vec<String> = steps.iter().map(|step| format!("    {step:?},\n")).collect();
            panic!("{reason}\n{kind:?}\n{}", steps.concat());
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn lists_with_sha256() {
    random_lists(false);
}

#[test]
fn lists_with_sha512() {
    random_lists(true);
}
