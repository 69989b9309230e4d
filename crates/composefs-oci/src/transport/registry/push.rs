//! Into a registry: blobs it lacks, then manifests, the name last.
//!
//! # Format
//! OCI distribution-spec, push; `docs/formats/transports.md`, section 7.

mod subject;
mod upload;

use std::{fmt, sync::Arc};

use oci_spec::image::Descriptor;
use reqwest::{
    Body, Method, Response,
    header::{CONTENT_TYPE, HeaderValue},
};

use crate::{
    digest::Digest,
    error::Error,
    reference::{Reference, RegistryReference},
    transport::{
        Root, digest_of,
        sink::{OpenBlob, Sink},
    },
};

use super::{
    RegistryOptions,
    background::Background,
    client::{Client, Request},
    connect::Connector,
    fault::Asked,
    hosts::RegistriesConf,
    redirect::Payload,
    retry::RetryOptions,
    token::Purpose,
};

/// A repository of a registry that an image is put into.
pub struct RegistrySink {
    reference: RegistryReference,
    client: Arc<Client>,
    retries: RetryOptions,
    /// Another repository of the same registry, which may have the blobs.
    mount_from: Option<String>,
    background: Background,
}

impl fmt::Debug for RegistrySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySink").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl RegistrySink {
    /// Prepares to push under a name; nothing is sent. Mirrors are not written to. Blobs that `from` has in the same
    /// registry are taken over from there.
    ///
    /// # Errors
    /// As [`super::Registry::open`].
    pub fn create(
        reference: &RegistryReference,
        from: Option<&RegistryReference>,
        options: &RegistryOptions,
    ) -> Result<Self, Error> {
        let conf = RegistriesConf::load(&options.environment, options.registries_conf.as_deref())?;
        let endpoints = conf.endpoints(reference)?;
        let endpoint =
            endpoints.last().ok_or_else(|| Error::Connections("no place to push to".to_owned()))?;
        let client = Arc::new(Connector::new(options).client(endpoint)?);
        let to = &endpoint.reference;
        let mount_from = from
            .filter(|from| from.domain() == to.domain() && from.path() != to.path())
            .map(|from| from.path().to_owned());
        let background = Background::start(reference)?;
        let (reference, retries) = (reference.clone(), options.retries.clone());
        Ok(Self { reference, client, retries, mount_from, background })
    }

    /// Puts a manifest under a tag or its digest, and has it found by whoever asks what refers to its subject.
    fn put(&self, document: &Root, wanted: &str) -> Result<(), Error> {
        let listed = self.publish(document, wanted)?;
        match subject::subject(document) {
            Some(subject) if !listed => subject::refer(self, document, &subject),
            _ => Ok(()),
        }
    }

    /// Puts a manifest under a tag or its digest; tells whether the registry has put it on the list of its subject.
    fn publish(&self, document: &Root, wanted: &str) -> Result<bool, Error> {
        let asked = Asked::Publish(wanted.to_owned());
        let mut request = Request::get(asked, format!("manifests/{wanted}")).method(Method::PUT);
        let kind = HeaderValue::from_str(&document.media_type)
            .map_err(|_| self.client.senseless(&request.asked, "no media type can be sent for it"))?;
        request = request.header(CONTENT_TYPE, kind);
        request.purpose = Purpose::Push;
        request.payload = Some(whole(document.bytes.clone().into()));
        let reply = self.background.block_on(self.client.patiently(&request, &self.retries))?;
        if stored_otherwise(&reply.response, &document.digest) {
            let reason = "it has stored the manifest under another digest";
            return Err(self.client.senseless(&request.asked, reason).into());
        }
        Ok(reply.response.headers().contains_key("oci-subject"))
    }

    /// Asks the registry to take a blob over from the repository the image comes from.
    fn mount(&self, digest: &Digest) -> Result<bool, Error> {
        let Some(from) = &self.mount_from else { return Ok(false) };
        let mut request = Request::get(Asked::Upload, format!("blobs/uploads/?mount={digest}&from={from}"))
            .method(Method::POST);
        request.purpose = Purpose::Mount(from.clone());
        let reply = self.background.block_on(self.client.patiently(&request, &self.retries));
        match reply {
            Ok(reply) if reply.response.status().as_u16() == 201 => Ok(true),
            // It has begun an upload, which is left to age: the usual way begins its own.
            Ok(_) => Ok(false),
            Err(error) => {
                tracing::debug!(%error, "blobs are not taken over");
                Ok(false)
            }
        }
    }
}

/// Tells whether the registry says that it has stored something else. A digest of another algorithm says nothing.
fn stored_otherwise(response: &Response, digest: &Digest) -> bool {
    let says = response.headers().get("docker-content-digest");
    let says = says.and_then(|value| Digest::new(value.to_str().ok()?).ok());
    says.is_some_and(|says| says.algorithm() == digest.algorithm() && says != *digest)
}

/// Makes a payload that can be sent again.
fn whole(bytes: bytes::Bytes) -> Payload {
    Payload { make: Arc::new(move || Body::from(bytes.clone())), secret: false }
}

impl Sink for RegistrySink {
    fn describe(&self) -> String {
        Reference::Registry(self.reference.clone()).to_string()
    }

    fn begin(&self, root: &Root, _contents: &[Descriptor]) -> Result<(), Error> {
        match self.reference.digest() {
            Some(digest) if digest.digest() != &root.digest => Err(Error::NotADestination {
                reference: self.describe(),
                reason: "the image has another digest than its name there would say",
            }),
            _ => Ok(()),
        }
    }

    fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let digest = digest_of(blob)?;
        let asked = self.client.has_blob(&digest, Purpose::Push, &self.retries);
        if self.background.block_on(asked)?.is_some() {
            return Ok(true);
        }
        self.mount(&digest)
    }

    fn put_blob(&self, blob: &Descriptor, open: &OpenBlob<'_>) -> Result<(), Error> {
        upload::upload(self.background.handle()?, &self.client, blob, open, &self.retries)
    }

    fn put_manifest(&self, document: &Root) -> Result<(), Error> {
        self.put(document, document.digest.as_str())
    }

    fn finish(&self, root: &Root) -> Result<(), Error> {
        self.put(root, self.reference.wanted())
    }
}
