//! Pulls an image into a repository and says what it brought: `pull REPOSITORY docker://NAME[:TAG]`, or `oci:LAYOUT[:TAG]`.
//!
//! The repository is made if there is none. Progress goes to stderr, a line for each layer.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use anyhow::Context as _;
use composefs::{
    digest::Algorithm,
    progress::{Event, Observer},
    repo::{InitOptions, OpenOptions, Repository, init},
};
use composefs_oci::{
    environment::Environment,
    policy::Policy,
    pull::{PullOptions, pull},
    reference::Reference,
    transport::{self, SourceOptions, registry::RegistryOptions},
};
use rustix::fs::CWD;

struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Begin { what, name, .. } => eprintln!("{what} {name}"),
            Event::Skipped { what, name } => eprintln!("{what} {name} is here"),
            Event::Warning { text } => eprintln!("warning: {text}"),
            _ => {}
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, image] = &arguments[..] else { anyhow::bail!("usage: pull REPOSITORY IMAGE") };
    let reference: Reference = image.parse()?;
    let environment = Environment::from_process();
    let policy = Policy::load(&environment, None)?;
    let registries = RegistryOptions::default().environment(environment.clone());
    let from = SourceOptions::default().registry(registries).environment(environment).policy(policy);
    let source = transport::open(&reference, &from)?;
    init(CWD, path, &InitOptions::new(Algorithm::Sha256).insecure(true))?;
    let writer = Repository::open(CWD, path, &OpenOptions::default())?.into_writer()?;
    let options = PullOptions::default().tag(reference.to_string());
    let pulled = pull(&writer, source.as_ref(), &options, &Lines).with_context(|| format!("pull {image}"))?;
    println!("manifest {}", pulled.manifest);
    for (format, id) in &pulled.images {
        println!("image {id} (EROFS format {format})");
    }
    println!("{} new files of {} bytes", pulled.objects.new, pulled.objects.new_bytes);
    Ok(())
}
