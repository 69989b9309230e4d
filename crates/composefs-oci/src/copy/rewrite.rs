//! Manifests of media that keep layers in another form than their manifest says.

use oci_spec::image::Descriptor;
use serde_json::Value;

use crate::{
    digest::Digest,
    error::Error,
    model::{Manifest, ModelError, media_type},
    transport::{Root, Source, digest_of},
};

/// The type of a Docker image's layer as a tar.
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Returns the first layer that is kept in another form.
pub(super) fn kept_otherwise(source: &dyn Source, manifest: &Manifest) -> Result<Option<Digest>, Error> {
    for layer in manifest.layers() {
        if let Some(kept) = source.kept_as(layer)?
            && kept.digest() != layer.digest()
        {
            return digest_of(layer).map(Some);
        }
    }
    Ok(None)
}

/// Returns the manifest with the layers as the medium has them; `None` if that is what it says.
pub(super) fn as_kept(source: &dyn Source, manifest: &Manifest) -> Result<Option<Root>, Error> {
    if kept_otherwise(source, manifest)?.is_none() {
        return Ok(None);
    }
    let kept = manifest
        .layers()
        .iter()
        .map(|layer| Ok(source.kept_as(layer)?.unwrap_or_else(|| layer.clone())))
        .collect::<Result<Vec<_>, Error>>()?;
    let wrong = |source| Error::model(manifest.digest(), source);
    let bytes = with_layers(manifest.bytes(), &kept).map_err(wrong)?;
    let media_type = media_type::of_document(None, &bytes).map_err(wrong)?;
    Ok(Some(Root { digest: Digest::sha256(&bytes), bytes, media_type }))
}

/// Puts other descriptors in the place of a manifest's layers; the rest stays, annotations of the layers that are
/// about their compressed form apart.
fn with_layers(manifest: &[u8], layers: &[Descriptor]) -> Result<Vec<u8>, ModelError> {
    let json = |source| ModelError::Json { what: "manifest", source };
    let mut manifest: Value = serde_json::from_slice(manifest).map_err(json)?;
    let there = manifest.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten();
    for (entry, layer) in there.zip(layers) {
        if entry.get("digest").and_then(Value::as_str) == Some(layer.digest().as_ref()) {
            continue;
        }
        let docker = entry
            .get("mediaType")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.starts_with("application/vnd.docker."));
        let kind = if docker { DOCKER_TAR } else { media_type::OCI_LAYER };
        *entry = serde_json::json!({
            "mediaType": kind,
            "digest": layer.digest().as_ref(),
            "size": layer.size(),
        });
    }
    Ok(manifest.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_differ_are_replaced() {
        let digest = |digit: char| format!("sha256:{}", String::from(digit).repeat(64));
        let manifest = format!(
            r#"{{"schemaVersion":2,"x":1,"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{}","size":5}},{{"mediaType":"m","digest":"{}","size":6,"annotations":{{"a":"b"}}}}]}}"#,
            digest('1'),
            digest('2')
        );
        let layer = |digit, size| {
            Descriptor::new(
                media_type::OCI_LAYER.into(),
                size,
                digest(digit).parse::<oci_spec::image::Digest>().unwrap(),
            )
        };
        let changed = with_layers(manifest.as_bytes(), &[layer('3', 9), layer('2', 6)]).unwrap();
        let expected = manifest
            .replace(&digest('1'), &digest('3'))
            .replace(".gzip", "")
            .replace(r#""size":5"#, r#""size":9"#);
        assert_eq!(String::from_utf8(changed).unwrap(), expected);
    }
}
