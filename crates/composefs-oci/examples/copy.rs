//! Copies an image from one place to another, without a repository: `copy oci:LAYOUT docker://REGISTRY/NAME`, say.
//!
//! Of an index all is copied. Blobs that the destination has are not sent.
#![allow(clippy::print_stdout, missing_docs)]

use anyhow::Context as _;
use composefs::progress::Silent;
use composefs_oci::{
    copy::{CopyOptions, Which, copy},
    environment::Environment,
    policy::Policy,
    reference::Reference,
    transport::{self, SinkOptions, SourceOptions, registry::RegistryOptions},
};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else { anyhow::bail!("usage: copy SOURCE DESTINATION") };
    let (from, to): (Reference, Reference) = (from.parse()?, to.parse()?);
    let environment = Environment::from_process();
    let policy = Policy::load(&environment, None)?;
    let registries = RegistryOptions::default().environment(environment.clone());
    let source = transport::open(
        &from,
        &SourceOptions::default().registry(registries.clone()).environment(environment).policy(policy),
    )?;
    let sink = transport::create(&to, &SinkOptions::default().registry(registries).source(&from))?;
    let options = CopyOptions::default().which(Which::All);
    let copied = copy(source.as_ref(), sink.as_ref(), &options, &Silent)
        .with_context(|| format!("copy {} to {}", source.describe(), sink.describe()))?;
    println!("{}: {} blobs of {} bytes", copied.manifest, copied.blobs, copied.bytes);
    Ok(())
}
