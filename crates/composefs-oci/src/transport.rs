//! Where images come from: a medium gives an index or a manifest, and blobs by descriptor.

mod archive_index;
pub mod layout;
pub mod oci_archive;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod select;

use std::io::Read;

use oci_spec::image::Descriptor;

use crate::{digest::Digest, error::Error, model::platform::Platform, reference::Reference};

pub(crate) use layout::read_document;

/// The bytes of a manifest, an index or a config, checked against the digest under which they were asked for.
pub type Document = Vec<u8>;

/// A manifest that was chosen on a medium.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The manifest's bytes.
    pub bytes: Document,
    /// Its digest, which the bytes have.
    pub digest: Digest,
    /// What a user should know about the choice.
    pub warning: Option<String>,
}

/// A medium that holds images. What it gives is not believed by anybody: the importer checks every blob.
pub trait Source: Send + Sync {
    /// Returns the reference in words for messages.
    fn describe(&self) -> String;

    /// Finds the manifest that the reference and the platform mean.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] with what is there, and what reading gives.
    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error>;

    /// Returns the descriptor of the bytes there are for a layer, where the medium keeps another form of it than the
    /// manifest says, such as the tar without its compression; [`Source::blob`] takes that one then.
    ///
    /// # Errors
    /// What asking the medium gives.
    fn kept_as(&self, _layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        Ok(None)
    }

    /// Opens a blob. It is called from several threads at once.
    ///
    /// # Errors
    /// [`Error::BlobMissing`], [`Error::Source`].
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;
}

/// Opens the medium of a reference: natively, or through the proxy for transports that only skopeo speaks.
///
/// # Errors
/// [`Error::NoSuchImage`], [`Error::Source`]; without the feature `proxy` [`Error::NeedsProxy`].
pub fn open(reference: &Reference) -> Result<Box<dyn Source>, Error> {
    match reference {
        Reference::Layout(at) => Ok(Box::new(layout::Layout::open(at)?)),
        Reference::OciArchive(at) => Ok(Box::new(oci_archive::OciArchive::open(at)?)),
        #[cfg(feature = "proxy")]
        Reference::Proxy(text) => {
            Ok(Box::new(proxy::Proxy::open(text.as_str(), proxy::ProxyOptions::default())?))
        }
        #[cfg(not(feature = "proxy"))]
        Reference::Proxy(text) => Err(Error::NeedsProxy { reference: text.clone() }),
    }
}
