//! Media that keep an image otherwise than its manifest says.

use std::io::Read;

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    copy::{CopyOptions, Which, copy},
    model::{Descriptor, media_type, platform::Platform},
    transport::{self, Chosen, Root, SinkOptions, Source},
};
use composefs_testkit::{
    docker::{self, Form},
    images::{Compression, Image},
};

use crate::lab::{Lab, amd64, blobs, layer};

fn image(compression: Compression) -> Image {
    Image::new([layer(1, 9_000, compression), layer(2, 9_000, compression)])
}

#[test]
fn what_docker_saved_becomes_an_image_of_tars() {
    let mut lab = Lab::new();
    let expected = lab.layout.image("x", &image(Compression::Plain));
    std::fs::write(lab.path("saved.tar"), docker::archive(&image(Compression::Gzip), &["a:b"], Form::Blobs))
        .unwrap();
    let copied = lab.copy_all(&lab.at("docker-archive", "saved.tar"), &lab.at("oci", "l:x")).unwrap();
    assert_eq!(copied.manifest.as_str(), expected.manifest.digest);
    assert_eq!(blobs(&lab.path("l")), blobs(lab.layout.path()));
}

/// A layout whose layers are kept as tars, as podman's store keeps them.
struct Unpacked {
    inner: Box<dyn Source>,
    image: Image,
}

impl Source for Unpacked {
    fn describe(&self) -> String {
        "store:x".to_owned()
    }

    fn root(&self) -> Result<Root, Error> {
        self.inner.root()
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.inner.manifest(platform)
    }

    fn kept_as(&self, layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        let found = self.image.layers.iter().find(|there| there.digest == layer.digest().as_ref());
        Ok(found.map(|there| {
            Descriptor::new(
                media_type::OCI_LAYER.into(),
                there.tar.len() as u64,
                there.diff_id.parse::<oci_spec::image::Digest>().unwrap(),
            )
        }))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        match self.image.layers.iter().find(|there| there.diff_id == descriptor.digest().as_ref()) {
            Some(layer) => Ok(Box::new(&layer.tar[..])),
            None => self.inner.blob(descriptor),
        }
    }
}

#[test]
fn a_store_of_tars_changes_the_manifest_and_says_so() {
    let mut lab = Lab::new();
    let packed = image(Compression::Gzip);
    let written = lab.layout.image("x", &packed);
    let open = |tag: &str| {
        let inner = transport::open(
            &lab.layout.reference(tag).parse().unwrap(),
            &transport::SourceOptions::default(),
        );
        Unpacked { inner: inner.unwrap(), image: packed.clone() }
    };
    let to = lab.at("oci", "l:x").parse().unwrap();
    let sink = transport::create(&to, &SinkOptions::default()).unwrap();
    let copied = copy(&open("x"), sink.as_ref(), &amd64(), &lab.heard).unwrap();
    assert_ne!(copied.manifest.as_str(), written.manifest.digest);
    let warnings = lab.heard.starting("warning");
    assert!(warnings.len() == 1 && warnings[0].contains(copied.manifest.as_str()), "{warnings:?}");
    let copies = blobs(&lab.path("l"));
    for layer in &packed.layers {
        assert_eq!(copies[&layer.diff_id.replace(':', "/")], layer.tar);
    }
    assert_eq!(copies.len(), 4);

    // Of an index nothing can be changed.
    let written = lab.layout.write(&packed);
    lab.layout.index("all", &[written]);
    let inner =
        transport::open(&lab.layout.reference("all").parse().unwrap(), &transport::SourceOptions::default());
    let source = Unpacked { inner: inner.unwrap(), image: packed.clone() };
    let error = copy(&source, sink.as_ref(), &CopyOptions::default().which(Which::All), &Silent).unwrap_err();
    assert!(matches!(error, Error::KeptOtherwise { .. }), "{error:?}");
}
