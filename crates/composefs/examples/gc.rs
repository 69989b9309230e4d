//! Shows what a collection would remove, and removes it with `--apply`: `gc REPOSITORY [--apply]`.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use composefs::{
    progress::Silent,
    repo::{GcOptions, GcPlan, OpenOptions, Repository, Wait},
};
use rustix::fs::CWD;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| ".".to_owned());
    let repository = Repository::open(CWD, path, &OpenOptions::default())?;
    // Reads only, while others go on.
    let plan = GcPlan::new(&repository, &GcOptions::default())?;
    for unreadable in &plan.unreadable {
        println!("cannot be read: {}: {}", unreadable.id, unreadable.error);
    }
    if arguments.next().as_deref() != Some("--apply") {
        println!("{plan}");
        return Ok(());
    }
    // Others wait for as long as the sweep takes, and it waits for them.
    let sweeper = repository.sweeper(Wait::AtMost(Duration::from_secs(60)))?;
    println!("{}", plan.apply(&sweeper, &Silent)?);
    Ok(())
}
