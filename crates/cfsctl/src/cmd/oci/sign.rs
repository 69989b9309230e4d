//! `cfsctl oci sign`

use std::{
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    credentials::Secret,
    find::Name,
    seal::digests::Boot,
    sealing::{self, Place, SealOptions, Signer},
    signature::{Certificate, KeyError, SigningKey},
};

use super::seal;
use crate::{
    app::App,
    args::Hash,
    ui::{self, error::Usage},
};

/// The longest password of a file, in bytes.
const PASSWORD_MAX: u64 = 4096;
/// The largest file of certificates, in bytes.
pub(super) const CERTIFICATES_MAX: u64 = 4 << 20;

/// Seal an image and sign the seal
///
/// The digests are computed anew, as `oci seal` does it, and each is signed as the kernel takes it: the same bytes that
/// `fsverity sign` writes. With several keys, say --key and --cert for each; whoever checks the signature then asks all of
/// the signers to be known. To have signatures of which any one will do, sign several times.
///
/// The key is PEM: PKCS#8, encrypted or not, or RSA's own form. A password is asked for on the terminal, or read from
/// --password-file; it is never an argument. Keys in hardware (PKCS#11) are not supported.
///
/// Example: cfsctl oci sign web --key release.key --cert release.pem
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// A tag, or @ and a manifest's digest
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(crate::complete::tags))]
    image: Name,
    /// The private key (can be repeated)
    #[arg(long, value_name = "FILE", required_unless_present = "pkcs11")]
    key: Vec<PathBuf>,
    /// The certificate of the key before it (can be repeated)
    #[arg(long, value_name = "FILE", required = true)]
    cert: Vec<PathBuf>,
    /// Read the keys' password from the first line of this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A key in hardware; this version has no provider for it
    #[arg(long, value_name = "URI")]
    pkcs11: Option<String>,
    /// Where the seal goes; default: where it is, else artifact
    #[arg(long, value_name = "MODE")]
    mode: Option<SignMode>,
    /// The tag for the sealed manifest (inline); default: NAME
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

/// Where a signed seal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SignMode {
    /// An artifact beside the image
    Artifact,
    /// The image's manifest, which becomes another one
    Inline,
}

impl Sign {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        if self.pkcs11.is_some() {
            bail!(Usage(
                "--pkcs11: this version signs with keys in files only; `openssl cms` signs with a key in hardware"
                    .to_owned()
            ));
        }
        if self.key.len() != self.cert.len() {
            let (keys, certs) = (self.key.len(), self.cert.len());
            bail!(Usage(format!("each --key needs its --cert, and there are {keys} and {certs}")));
        }
        // From here on there are keys in memory: no other process of the user may read it, and no core file holds it.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .context("keep keys out of core dumps")?;
        let mut password = self.password_file.as_deref().map(read_password).transpose()?;
        let mut signers = Vec::new();
        for (key, cert) in self.key.iter().zip(&self.cert) {
            signers.push(signer(key, cert, &mut password)?);
        }
        let writer = app.writer()?;
        let image = seal::container(&writer, &self.image)?;
        let place = match self.mode {
            Some(SignMode::Artifact) => Place::Artifact,
            Some(SignMode::Inline) => Place::Inline,
            None => sealing::place_of(&writer, &image)?.unwrap_or_default(),
        };
        let options = SealOptions::default()
            .place(place)
            .boot(if self.bootable { Boot::Always } else { Boot::IfThere })
            .algorithm(self.algorithm.map(Into::into))
            .tag(seal::tag_for(place, &self.image, self.name.clone())?);
        let made = sealing::sign(&writer, &image, &signers, &options, app.observer().as_ref())?;
        seal::print(&made, options.tag.as_deref(), self.json)
    }
}

/// Reads a key and the certificate that is its own.
fn signer(key: &Path, cert: &Path, password: &mut Option<Secret>) -> anyhow::Result<Signer> {
    let what = || format!("key {}", key.display());
    let parsed = match SigningKey::read(key, password.as_ref()) {
        Err(KeyError::NeedsPassword) if std::io::stdin().is_terminal() => {
            let asked = Secret::new(ui::prompt::password(&format!("Password of {}: ", key.display()))?);
            SigningKey::read(key, Some(&asked)).with_context(what)?
        }
        Err(error @ KeyError::NeedsPassword) => {
            let hint = "--password-file gives it where there is no terminal";
            return Err(anyhow::Error::from(error).context(format!("{}; {hint}", what())));
        }
        other => other.with_context(what)?,
    };
    let certificates = certificates(cert)?;
    let own = certificates.into_iter().find(|certificate| parsed.has(certificate));
    let Some(certificate) = own else {
        bail!("{}: no certificate in {} is of this key", what(), cert.display());
    };
    Ok(Signer { key: parsed, certificate })
}

/// Reads a file of certificates.
pub(super) fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let bytes = crate::input::read(path, CERTIFICATES_MAX)?;
    Certificate::parse_all(&bytes).with_context(|| format!("certificate {}", path.display()))
}

/// Reads the first line of a file.
fn read_password(path: &Path) -> anyhow::Result<Secret> {
    let what = || format!("read the password of {}", path.display());
    let limit = PASSWORD_MAX + 1;
    let mut text = String::with_capacity(limit as usize);
    std::fs::File::open(path).with_context(what)?.take(limit).read_to_string(&mut text).with_context(what)?;
    let text = Secret::new(text);
    let line = text.expose().lines().next().unwrap_or_default();
    anyhow::ensure!(line.len() as u64 <= PASSWORD_MAX, "{}: longer than {PASSWORD_MAX} bytes", what());
    Ok(Secret::new(line))
}
