//! `cfsctl oci seal`

use std::io::Write as _;

use anyhow::bail;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use composefs::{digest::ObjectId, erofs::FormatVersion, repo::Writer};
use composefs_oci::{
    Error,
    find::{self, Name},
    rootfs::Rules,
    seal::{self, digests::Boot},
    sealing::{self, Made, Place, SealOptions},
    stored::StoredImage,
};
use serde::Serialize;

use crate::{
    app::App,
    args::Hash,
    ui::{self, error::Usage},
};

/// Bind the digest of an image's file system to the image
///
/// Computes the digests of the manifest, of the config and of the composefs image of the layers, and stores them with the
/// image: as an artifact beside it, which leaves the image as it is; in its manifest, which becomes another one, to which
/// the tag moves; or, as 0.3 does it, in the label containers.composefs.fsverity of a new config. The same image gives the
/// same bytes every time. Nothing is signed; that is what `oci sign` does.
///
/// Without --mode an image gets an artifact, and what is named as 0.3 names it (a config's digest in bare hex, refs/NAME,
/// with VERITY or --name) gets the label.
///
/// Example: cfsctl oci seal web
#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// A tag, or @ and a manifest's digest; for the label also a config's digest, in bare hex or behind @, or refs/ and a
    /// name
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(crate::complete::tags))]
    image: Name,
    /// The id of the config's stream, which is then not looked up by name (label)
    #[arg(value_parser = |text: &str| ObjectId::from_any_hex(text))]
    verity: Option<ObjectId>,
    /// Where the seal goes; default: artifact
    #[arg(long, value_name = "MODE")]
    mode: Option<SealMode>,
    /// The tag for the sealed manifest (inline), or a name for the sealed config below streams/refs/ (label)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The algorithm of the digests; default: the repository's. For the other one every file is hashed anew
    #[arg(long, value_name = "HASH")]
    algorithm: Option<Hash>,
    /// Seal the bootable image, too; default: if there is one
    #[arg(long)]
    bootable: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Where a seal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SealMode {
    /// An artifact beside the image
    Artifact,
    /// The image's manifest, which becomes another one
    Inline,
    /// A label of a new config, as by 0.3
    Label,
}

impl Seal {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let writer = app.writer()?;
        let image = match self.mode {
            Some(SealMode::Label) => None,
            None if self.verity.is_some() || self.name.is_some() => None,
            mode => match find::image(&writer, &self.image) {
                Ok(image) => Some(image),
                Err(Error::NotFound(_)) if mode.is_none() => None,
                Err(error) => return Err(error.into()),
            },
        };
        let Some(image) = image else { return self.label(app, &writer) };
        if self.verity.is_some() {
            bail!(Usage("VERITY is for --mode label".to_owned()));
        }
        let place = if self.mode == Some(SealMode::Inline) { Place::Inline } else { Place::Artifact };
        let options = SealOptions::default()
            .place(place)
            .boot(if self.bootable { Boot::Always } else { Boot::IfThere })
            .algorithm(self.algorithm.map(Into::into))
            .tag(tag_for(place, &self.image, self.name.clone())?);
        let made = sealing::seal(&writer, &image, &options, app.observer().as_ref())?;
        print(&made, options.tag.as_deref(), self.json)
    }

    fn label(self, app: &App, writer: &Writer) -> anyhow::Result<()> {
        if self.algorithm.is_some() || self.bootable {
            bail!(Usage("--algorithm and --bootable are not for --mode label".to_owned()));
        }
        let name = self.name.map(composefs::name::RefName::new).transpose()?;
        let config = find::config(writer, &self.image, self.verity.as_ref())?;
        let rules =
            if writer.erofs_formats().default == FormatVersion::V2 { Rules::V03 } else { Rules::Current };
        let sealed = seal::seal(writer, &config, rules, app.observer().as_ref())?;
        if let Some(name) = name {
            let mut commit = writer.begin();
            commit.stream_ref(name, &composefs_oci::ident::config(&sealed.config)?);
            commit.finish()?;
        }
        if self.json {
            return ui::json::print(&serde_json::json!({
                "version": 1,
                "config": sealed.config.to_string(),
                "verity": sealed.stream.prefixed(),
                "image": sealed.image.prefixed(),
            }));
        }
        let mut out = ui::out();
        writeln!(out, "sha256 {}", sealed.config.digest().encoded())?;
        writeln!(out, "verity {}", sealed.stream.prefixed())?;
        Ok(())
    }
}

/// The tag for a manifest that is made: what was asked for, else the one the image was named by.
pub(super) fn tag_for(place: Place, image: &Name, asked: Option<String>) -> anyhow::Result<Option<String>> {
    match (place, asked, image) {
        (Place::Artifact, None, _) => Ok(None),
        (Place::Artifact, Some(_), _) => {
            bail!(Usage("an artifact has no name; --name is for --mode inline".to_owned()))
        }
        (Place::Inline, Some(name), _) => Ok(Some(name)),
        (Place::Inline, None, Name::Text(tag)) => Ok(Some(tag.clone())),
        (Place::Inline, None, Name::Digest(_)) => {
            bail!(Usage("the sealed manifest is a new one, and needs a tag: --name NAME".to_owned()))
        }
    }
}

/// Opens an image that is to be sealed or verified.
pub(super) fn container(writer: &composefs::repo::Repository, name: &Name) -> anyhow::Result<StoredImage> {
    Ok(find::image(writer, name)?)
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    digests: Vec<Digest>,
    replaced: Vec<&'a str>,
}

#[derive(Serialize)]
struct Digest {
    role: String,
    annotation: String,
    digest: String,
    signed: bool,
}

/// Says what was made.
pub(super) fn print(made: &Made, tag: Option<&str>, json: bool) -> anyhow::Result<()> {
    let artifact = made.artifact.as_ref().map(|digest| digest.as_str());
    if json {
        return ui::json::print(&Document {
            version: 1,
            image: made.image.as_str(),
            artifact,
            tag,
            digests: made
                .claims
                .iter()
                .map(|claim| Digest {
                    role: claim.key.role.to_string(),
                    annotation: claim.key.to_string(),
                    digest: claim.digest.to_hex(),
                    signed: claim.signature.is_some(),
                })
                .collect(),
            replaced: made.replaced.iter().map(|digest| digest.as_str()).collect(),
        });
    }
    let mut out = ui::out();
    writeln!(out, "manifest {}", made.image)?;
    if let Some(artifact) = artifact {
        writeln!(out, "artifact {artifact}")?;
    }
    for claim in &made.claims {
        let signed = if claim.signature.is_some() { ", signed" } else { "" };
        writeln!(out, "  {:<8} {}{signed}", claim.key.role, claim.digest.prefixed())?;
    }
    if let Some(tag) = tag {
        writeln!(out, "tagged   {tag}")?;
    }
    for old in &made.replaced {
        writeln!(out, "in place of {old}")?;
    }
    Ok(())
}
