//! OCI image layouts made in memory and on disk: right ones, and wrong ones on demand.
//!
//! A [`Layer`] is a tar and the blob it travels as; an [`Image`] is layers and a config; a [`Layout`] is a directory
//! that takes images, indexes and artifacts. Nothing depends on the time, the host or the processor.
//!
//! ```no_run
//! use composefs_testkit::images::{Compression, Image, Layer, Layout};
//! use composefs_testkit::tars::TarBuilder;
//! let tar = TarBuilder::new().dir("usr").file("usr/hello", "hi\n").finish();
//! let mut layout = Layout::create("/tmp/layout");
//! let written = layout.image("latest", &Image::new([Layer::new(tar, Compression::Gzip)]));
//! println!("{}", written.manifest.digest);
//! ```

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use std::path::{Path, PathBuf};

use crate::tars::TarBuilder;

/// The media type of OCI manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of OCI indexes.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of OCI image configs.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of Docker's manifests, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The media type of Docker's image configs.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The media type of Docker's layers.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Returns the `sha256:…` digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns the `sha512:…` digest of `bytes`.
#[must_use]
pub fn sha512(bytes: &[u8]) -> String {
    let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}")
}

/// How a layer's tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// One gzip member.
    Gzip,
    /// One zstd frame.
    Zstd,
}

impl Compression {
    /// Packs `tar`.
    ///
    /// # Panics
    /// When zstd fails, which it does not in memory.
    #[must_use]
    pub fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip => gzip(tar),
            Self::Zstd => zstd::bulk::compress(tar, 3).unwrap(),
        }
    }

    /// Returns the media type of layers packed like this.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Packs `bytes` as one gzip member without name and time.
///
/// The deflate encoder is one without vector code: encoders with it give other bytes on other processors, and
/// digests of images made here are written down in tests.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    member.extend(crc.sum().to_le_bytes());
    member.extend(crc.amount().to_le_bytes());
    member
}

/// A layer: its tar, the blob as shipped, and what manifest and config claim about the two.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// The blob as shipped.
    pub blob: Vec<u8>,
    /// The media type in the manifest.
    pub media_type: String,
    /// The digest in the manifest, also the blob's file name.
    pub digest: String,
    /// The size in the manifest.
    pub size: u64,
    /// The digest in the config.
    pub diff_id: String,
    /// Annotations of the layer's descriptor.
    pub annotations: Map<String, Value>,
}

/// Returns bytes that no compressor shortens, the same for the same `seed`.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

/// Makes a layer of `/usr` and one file of `length` bytes in it, named and filled by `seed`.
#[must_use]
pub fn layer_of_noise(seed: u64, length: usize, compression: Compression) -> Layer {
    let file = format!("usr/file{seed}");
    Layer::new(TarBuilder::new().dir("usr").file(&file, noise(seed, length)).finish(), compression)
}

impl Layer {
    /// Makes a layer whose claims are all true.
    #[must_use]
    pub fn new(tar: Vec<u8>, compression: Compression) -> Self {
        let blob = compression.pack(&tar);
        Self::packed(tar, blob, compression.media_type())
    }

    /// Makes a layer with a blob of the caller's own: many gzip members, padding, skippable frames.
    #[must_use]
    pub fn packed(tar: Vec<u8>, blob: Vec<u8>, media_type: &str) -> Self {
        let (digest, size, diff_id) = (sha256(&blob), blob.len() as u64, sha256(&tar));
        Self { tar, blob, media_type: media_type.to_owned(), digest, size, diff_id, annotations: Map::new() }
    }

    /// Claims another media type.
    #[must_use]
    pub fn claim_media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
        self
    }

    /// Claims another blob digest; the blob is stored under that name.
    #[must_use]
    pub fn claim_digest(mut self, digest: &str) -> Self {
        digest.clone_into(&mut self.digest);
        self
    }

    /// Claims another blob size.
    #[must_use]
    pub fn claim_size(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Claims another diff_id.
    #[must_use]
    pub fn claim_diff_id(mut self, diff_id: &str) -> Self {
        diff_id.clone_into(&mut self.diff_id);
        self
    }

    /// Cuts the blob after `length` bytes; digest and size stay those of the whole.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Self {
        self.blob.truncate(length);
        self
    }
}

/// An image to be written: layers, platform, and additions to config and manifest.
#[derive(Clone, Debug)]
pub struct Image {
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// The platform's architecture.
    pub architecture: String,
    /// The platform's operating system.
    pub os: String,
    /// The platform's variant.
    pub variant: Option<String>,
    /// The `config` object of the config: `Cmd`, `Env`, `Labels`.
    pub config: Map<String, Value>,
    /// Further members of the manifest: `annotations`, `subject`, `artifactType`.
    pub manifest: Map<String, Value>,
    /// The media type of the config; other than [`CONFIG`] and [`DOCKER_CONFIG`] makes an artifact, whose config
    /// is `{}`.
    pub config_media_type: String,
    /// The media type of the manifest.
    pub media_type: String,
}

impl Image {
    /// Makes an image for linux/amd64.
    #[must_use]
    pub fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            layers: layers.into_iter().collect(),
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            variant: None,
            config: Map::new(),
            manifest: Map::new(),
            config_media_type: CONFIG.to_owned(),
            media_type: MANIFEST.to_owned(),
        }
    }

    /// Calls everything by Docker's media types of schema 2.
    #[must_use]
    pub fn docker(mut self) -> Self {
        DOCKER_CONFIG.clone_into(&mut self.config_media_type);
        DOCKER_MANIFEST.clone_into(&mut self.media_type);
        for layer in &mut self.layers {
            DOCKER_LAYER.clone_into(&mut layer.media_type);
        }
        self
    }

    /// Makes an artifact: blobs that are no file system, under a config that is empty.
    #[must_use]
    pub fn artifact(artifact_type: &str, layers: impl IntoIterator<Item = Layer>) -> Self {
        let mut image = Self::new(layers);
        "application/vnd.oci.empty.v1+json".clone_into(&mut image.config_media_type);
        image.manifest("artifactType", json!(artifact_type))
    }

    /// Sets the platform, `arm64` and `v8` say.
    #[must_use]
    pub fn platform(mut self, architecture: &str, variant: Option<&str>) -> Self {
        architecture.clone_into(&mut self.architecture);
        self.variant = variant.map(str::to_owned);
        self
    }

    /// Sets a member of the config's `config` object.
    #[must_use]
    pub fn config(mut self, name: &str, value: Value) -> Self {
        self.config.insert(name.to_owned(), value);
        self
    }

    /// Sets a member of the manifest.
    #[must_use]
    pub fn manifest(mut self, name: &str, value: Value) -> Self {
        self.manifest.insert(name.to_owned(), value);
        self
    }

    /// Returns the config.
    #[must_use]
    pub fn config_json(&self) -> Value {
        if ![CONFIG, DOCKER_CONFIG].contains(&self.config_media_type.as_str()) {
            return json!({});
        }
        let mut config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": self.architecture,
            "os": self.os,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
            "history": self.layers.iter().map(|_| json!({"created": "1970-01-01T00:00:00Z", "created_by": "testkit"})).collect::<Vec<_>>(),
        });
        if let Some(variant) = &self.variant {
            config["variant"] = json!(variant);
        }
        config
    }
}

/// A descriptor: what points to a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size: u64,
}

impl Descriptor {
    /// Returns the descriptor as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }
}

/// What [`Layout::image`] wrote.
#[derive(Clone, Debug)]
pub struct Written {
    /// The manifest's descriptor.
    pub manifest: Descriptor,
    /// The config's descriptor.
    pub config: Descriptor,
    /// The layers' diff_ids as claimed.
    pub diff_ids: Vec<String>,
    platform: Value,
}

/// An OCI image layout directory.
#[derive(Debug)]
pub struct Layout {
    dir: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// Makes an empty layout in `dir`, which is made with it.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn create(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        std::fs::write(dir.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}\n").unwrap();
        let layout = Self { dir, manifests: Vec::new() };
        layout.save();
        layout
    }

    /// Returns the layout's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Returns the reference of `tag` in it, `oci:DIR:TAG`.
    #[must_use]
    pub fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.dir.display())
    }

    /// Returns the path of a blob.
    ///
    /// # Panics
    /// When `digest` has no `algorithm:` in front.
    #[must_use]
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs").join(digest.replacen(':', "/", 1))
    }

    /// Stores a blob under its true digest.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = sha256(bytes);
        std::fs::write(self.blob_path(&digest), bytes).unwrap();
        Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    /// Stores an image's blobs, config and manifest; no tag yet.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, image: &Image) -> Written {
        let config = self.blob(&image.config_media_type, image.config_json().to_string().as_bytes());
        let mut layers = Vec::new();
        for layer in &image.layers {
            let path = self.blob_path(&layer.digest);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &layer.blob).unwrap();
            let mut descriptor =
                json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size});
            if !layer.annotations.is_empty() {
                descriptor["annotations"] = Value::Object(layer.annotations.clone());
            }
            layers.push(descriptor);
        }
        let mut manifest = json!({"schemaVersion": 2, "mediaType": image.media_type, "config": config.json(), "layers": layers});
        for (name, value) in &image.manifest {
            manifest[name] = value.clone();
        }
        let mut platform = json!({"architecture": image.architecture, "os": image.os});
        if let Some(variant) = &image.variant {
            platform["variant"] = json!(variant);
        }
        let manifest = self.blob(&image.media_type, manifest.to_string().as_bytes());
        let diff_ids = image.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        Written { manifest, config, diff_ids, platform }
    }

    /// Stores an image and names it.
    ///
    /// # Panics
    /// When files cannot be written.
    pub fn image(&mut self, tag: &str, image: &Image) -> Written {
        let written = self.write(image);
        self.tag(tag, &written.manifest);
        written
    }

    /// Stores an index over images already written, and names it.
    ///
    /// # Panics
    /// When files cannot be written.
    pub fn index(&mut self, tag: &str, images: &[Written]) -> Descriptor {
        let manifests: Vec<Value> = images
            .iter()
            .map(|image| {
                let mut entry = image.manifest.json();
                entry["platform"] = image.platform.clone();
                entry
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let descriptor = self.blob(INDEX, index.to_string().as_bytes());
        self.tag(tag, &descriptor);
        descriptor
    }

    /// Names a manifest or an index in `index.json`.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn tag(&mut self, tag: &str, descriptor: &Descriptor) {
        let mut entry = descriptor.json();
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        self.manifests.push(entry);
        self.save();
    }

    /// Adds an entry to `index.json` as it is: with a platform, without a tag, or wrong.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn entry(&mut self, entry: Value) {
        self.manifests.push(entry);
        self.save();
    }

    /// Changes a blob where it lies; its name stays.
    ///
    /// # Panics
    /// When it cannot be read or written.
    pub fn damage(&self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.blob_path(digest);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
    }

    /// Removes a blob.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, digest: &str) {
        std::fs::remove_file(self.blob_path(digest)).unwrap();
    }

    /// Returns the layout as an oci-archive: a tar of the directory, packed.
    ///
    /// # Panics
    /// When files cannot be read.
    #[must_use]
    pub fn archive(&self, compression: Compression) -> Vec<u8> {
        self.archive_below("", compression)
    }

    /// As [`archive`](Self::archive), with `prefix` before every name: `./` say.
    ///
    /// # Panics
    /// When files cannot be read.
    #[must_use]
    pub fn archive_below(&self, prefix: &str, compression: Compression) -> Vec<u8> {
        let mut blobs: Vec<_> = std::fs::read_dir(self.dir.join("blobs/sha256"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        blobs.sort();
        let below = |name: &str| format!("{prefix}{name}");
        let mut tar = crate::tars::TarBuilder::new().dir(&below("blobs")).dir(&below("blobs/sha256"));
        for name in blobs.iter().map(|name| format!("blobs/sha256/{}", name.to_str().unwrap())) {
            tar = tar.file(&below(&name), std::fs::read(self.dir.join(&name)).unwrap());
        }
        for name in ["index.json", "oci-layout"] {
            tar = tar.file(&below(name), std::fs::read(self.dir.join(name)).unwrap());
        }
        compression.pack(&tar.finish())
    }

    fn save(&self) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests});
        std::fs::write(self.dir.join("index.json"), format!("{index}\n")).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn gzip_is_read_by_another_decoder() {
        let data: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&gzip(&data)[..]).read_to_end(&mut back).unwrap();
        assert!(back == data);
    }

    #[test]
    fn claims_can_be_lies() {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(dir.path().join("l"));
        let wrong = format!("sha256:{}", "0".repeat(64));
        let layer = Layer::new(vec![0; 1024], Compression::Plain)
            .claim_digest(&wrong)
            .claim_size(7)
            .claim_diff_id(&wrong);
        let written = layout.image("latest", &Image::new([layer]));
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(layout.blob_path(&written.manifest.digest)).unwrap())
                .unwrap();
        assert_eq!(
            manifest["layers"][0],
            json!({"mediaType": Compression::Plain.media_type(), "digest": wrong, "size": 7})
        );
        assert_eq!(std::fs::read(layout.blob_path(&wrong)).unwrap().len(), 1024);
        assert_eq!(written.diff_ids, [wrong]);
    }
}
