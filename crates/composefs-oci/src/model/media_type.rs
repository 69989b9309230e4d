//! What a blob is, by its media type. Both families, OCI's and Docker's, are understood everywhere.

use serde::de::IgnoredAny;

use super::ModelError;

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker manifest, schema 1.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// A Docker manifest, schema 1, with its signature.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A layer that is a tar as it is.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The compression that a media type claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// The tar as it is.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Tells whether a descriptor of this type leads to a manifest.
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Tells whether a descriptor of this type leads to an index.
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Returns the media type of a manifest or index: what whoever gave it says, else what it says of itself, else what
/// it looks like.
///
/// # Errors
/// [`ModelError::Schema1`]; [`ModelError::Ambiguous`] for what could be taken for the one and the other, so that two
/// programs would see two images under one digest; [`ModelError::Json`] for what is neither.
pub fn of_document(said: Option<&str>, bytes: &[u8]) -> Result<String, ModelError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        schema_version: Option<u64>,
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        fs_layers: Option<IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(bytes)
        .map_err(|source| ModelError::Json { what: "manifest or image index", source })?;
    let said = said.map(|said| said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let is_old = |kind: &str| matches!(kind, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED);
    if said.as_deref().is_some_and(is_old) || shape.schema_version == Some(1) || shape.fs_layers.is_some() {
        return Err(ModelError::Schema1);
    }
    let known = |kind: &String| is_manifest(kind) || is_index(kind);
    let (said, own) = (said.filter(known), shape.media_type.filter(known));
    let looks = if shape.manifests.is_some() { OCI_INDEX } else { OCI_MANIFEST };
    let kind = said.or_else(|| own.clone()).unwrap_or_else(|| looks.to_owned());
    let contradicts = own.is_some_and(|own| is_index(&own) != is_index(&kind));
    let both = shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some());
    if contradicts || both || is_index(looks) != is_index(&kind) {
        return Err(ModelError::Ambiguous);
    }
    Ok(kind)
}

/// Tells whether a config of this type makes its manifest a container image.
#[must_use]
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Returns the compression of a tar layer's type; `None` if the type is no tar layer.
#[must_use]
pub fn tar_layer(media_type: &str) -> Option<Compression> {
    let kind = media_type
        .strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.")
        .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.v1."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff."))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff."))?;
    match kind {
        "tar" => Some(Compression::None),
        "tar+gzip" | "tar.gzip" => Some(Compression::Gzip),
        "tar+zstd" | "tar.zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_is() {
        let of = |said: Option<&str>, text: &str| of_document(said, text.as_bytes());
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let list = format!(r#"{{"mediaType":"{DOCKER_LIST}","manifests":[]}}"#);
        assert_eq!(of(Some(DOCKER_MANIFEST), manifest).unwrap(), DOCKER_MANIFEST);
        assert_eq!(of(Some("application/json; charset=utf-8"), manifest).unwrap(), OCI_MANIFEST);
        assert_eq!(of(Some(&format!("{OCI_INDEX} ; charset=utf-8")), index).unwrap(), OCI_INDEX);
        assert_eq!(of(None, index).unwrap(), OCI_INDEX);
        assert_eq!(of(Some("text/plain"), &list).unwrap(), DOCKER_LIST);
        for (said, text) in [
            (Some(DOCKER_SCHEMA1_SIGNED), manifest),
            (None, r#"{"schemaVersion":1,"fsLayers":[]}"#),
            (Some("application/json"), r#"{"fsLayers":[]}"#),
        ] {
            assert!(matches!(of(said, text), Err(ModelError::Schema1)), "{text}");
        }
        for (said, text) in [
            (Some(OCI_INDEX), manifest),
            (Some(OCI_MANIFEST), index),
            (Some(OCI_MANIFEST), &list),
            (None, r#"{"manifests":[],"layers":[],"config":{}}"#),
            (Some(OCI_MANIFEST), r#"{"manifests":[],"config":{}}"#),
        ] {
            assert!(matches!(of(said, text), Err(ModelError::Ambiguous)), "{text}");
        }
        assert!(matches!(of(None, "[]"), Err(ModelError::Json { .. })));
    }

    #[test]
    fn layers_of_both_families() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar", Some(Compression::None)),
            ("text/plain", None),
        ] {
            assert_eq!(tar_layer(media_type), expected, "{media_type}");
        }
    }
}
