//! `cfsctl oci seal`

use std::io::Write as _;

use clap::{Args, ValueEnum};
use composefs::{digest::ObjectId, erofs::FormatVersion};
use composefs_oci::{
    find::{self, Name},
    rootfs::Rules,
    seal,
};

use crate::{app::App, ui};

/// Bind an image's id to its config
///
/// Computes the composefs image of the config's layers, stores it, and stores a copy of the config with the image's id in the
/// label containers.composefs.fsverity. The same config and layers give the same bytes every time.
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// A tag, @ and a config's digest, a config's digest in bare hex, or refs/ and a name
    config: Name,
    /// The id of the config's stream; it is then not looked up by name
    #[arg(value_parser = |text: &str| ObjectId::from_any_hex(text))]
    verity: Option<ObjectId>,
    /// Where the seal goes; this version knows the label
    #[arg(long, value_name = "MODE", default_value = "label")]
    mode: SealMode,
    /// A name for the sealed config, below streams/refs/, so that gc keeps it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Where the seal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SealMode {
    /// A label of a new config
    Label,
}

impl Seal {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let SealMode::Label = self.mode;
        let name = self.name.map(composefs::name::RefName::new).transpose()?;
        let writer = app.writer()?;
        let config = find::config(&writer, &self.config, self.verity.as_ref())?;
        let rules =
            if writer.erofs_formats().default == FormatVersion::V2 { Rules::V03 } else { Rules::Current };
        let sealed = seal::seal(&writer, &config, rules, app.observer().as_ref())?;
        if let Some(name) = name {
            let mut commit = writer.begin();
            commit.stream_ref(name, &composefs_oci::ident::config(&sealed.config)?);
            commit.finish()?;
        }
        let mut out = ui::out();
        writeln!(out, "sha256 {}", sealed.config.digest().encoded())?;
        writeln!(out, "verity {}", sealed.stream.prefixed())?;
        Ok(())
    }
}
