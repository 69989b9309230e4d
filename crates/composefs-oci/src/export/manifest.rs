//! A manifest, or an index, made anew for blobs that are packed otherwise; all the rest of it stays.

use serde_json::{Value, json};

use crate::{
    digest::Digest,
    model::{
        ModelError,
        media_type::{self, Compression},
    },
};

/// What the manifest shall say of a layer that is not the blob it said before.
#[derive(Clone, Debug)]
pub(super) struct NewLayer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
}

const OCI: &str = "application/vnd.oci.image.layer.v1.";
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.";
const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.";

/// Beginnings of annotations that are about a layer's compressed form.
const OF_THE_FORM: [&str; 5] = [
    "io.github.containers.zstd-chunked.",
    "io.containers.zstd-chunked.",
    "io.github.containers.compression.",
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
];

/// Puts other layers in the place of a manifest's: `None` leaves one. Docker's format has no type for zstd, so with one
/// such layer the manifest becomes OCI's.
pub(super) fn with_layers(manifest: &[u8], layers: &[Option<NewLayer>]) -> Result<Vec<u8>, ModelError> {
    let mut manifest = parse(manifest, "manifest")?;
    let is_zstd = |layer: &NewLayer| layer.compression == Compression::Zstd;
    let to_oci = layers.iter().flatten().any(is_zstd);
    if to_oci {
        become_oci(&mut manifest, "", media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST);
        become_oci(&mut manifest, "/config", media_type::DOCKER_CONFIG, media_type::OCI_CONFIG);
    }
    let there = manifest.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten();
    for (entry, new) in there.zip(layers) {
        let said = entry.get("mediaType").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(entry) = entry.as_object_mut() else { continue };
        let compression = new.as_ref().map(|new| new.compression);
        entry.insert("mediaType".to_owned(), layer_type(&said, compression, to_oci).into());
        let Some(new) = new else { continue };
        entry.insert("digest".to_owned(), new.digest.as_str().into());
        entry.insert("size".to_owned(), new.size.into());
        // Other bytes are neither there nor in here.
        for other in ["urls", "data"] {
            entry.shift_remove(other);
        }
        let is_empty =
            entry.get_mut("annotations").and_then(Value::as_object_mut).is_some_and(|annotations| {
                annotations.retain(|key, _| !OF_THE_FORM.iter().any(|of| key.starts_with(of)));
                annotations.is_empty()
            });
        if is_empty {
            entry.shift_remove("annotations");
        }
    }
    Ok(manifest.to_string().into_bytes())
}

fn parse(bytes: &[u8], what: &'static str) -> Result<Value, ModelError> {
    serde_json::from_slice(bytes).map_err(|source| ModelError::Json { what, source })
}

fn become_oci(manifest: &mut Value, at: &str, from: &str, to: &str) {
    if let Some(kind) = manifest.pointer_mut(at).and_then(|value| value.get_mut("mediaType"))
        && kind.as_str() == Some(from)
    {
        *kind = to.into();
    }
}

/// Returns the type of a layer in its family; of one whose compression stays as it is, the family's name for that.
fn layer_type(said: &str, compression: Option<Compression>, to_oci: bool) -> String {
    let families = [OCI, OCI_FOREIGN, DOCKER, DOCKER_FOREIGN];
    let family = families.into_iter().find(|family| said.starts_with(family));
    let compression = match (compression, media_type::tar_layer(said)) {
        (Some(compression), _) => compression,
        (None, Some(compression)) if to_oci => compression,
        // Whatever it says, it goes on saying.
        _ => return said.to_owned(),
    };
    let family = match family {
        Some(DOCKER) if to_oci => OCI,
        Some(DOCKER_FOREIGN) if to_oci => OCI_FOREIGN,
        Some(family) => family,
        None => OCI,
    };
    let suffix = match (compression, family.starts_with("application/vnd.oci.")) {
        (Compression::None, _) => "tar",
        (Compression::Gzip, true) => "tar+gzip",
        (Compression::Gzip, false) => "tar.gzip",
        (Compression::Zstd, _) => "tar+zstd",
    };
    format!("{family}{suffix}")
}

/// An image of an index that has another manifest now.
#[derive(Clone, Debug)]
pub(super) struct NewChild {
    pub(super) old: Digest,
    pub(super) digest: Digest,
    pub(super) size: usize,
    pub(super) media_type: String,
}

/// Puts other manifests in the place of those of an index.
pub(super) fn with_children(index: &[u8], children: &[NewChild]) -> Result<Vec<u8>, ModelError> {
    let mut index = parse(index, "image index")?;
    for entry in index.get_mut("manifests").and_then(Value::as_array_mut).into_iter().flatten() {
        let digest = entry.get("digest").and_then(Value::as_str).unwrap_or_default();
        let Some(child) = children.iter().find(|child| child.old.as_str() == digest) else { continue };
        let Some(entry) = entry.as_object_mut() else { continue };
        entry.insert("mediaType".to_owned(), child.media_type.as_str().into());
        entry.insert("digest".to_owned(), child.digest.as_str().into());
        entry.insert("size".to_owned(), json!(child.size));
        entry.shift_remove("data");
    }
    let of_docker = |kind: &str| kind.starts_with("application/vnd.docker.");
    if children.iter().any(|child| !of_docker(&child.media_type)) {
        become_oci(&mut index, "", media_type::DOCKER_LIST, media_type::OCI_INDEX);
    }
    Ok(index.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", String::from(digit).repeat(64))
    }

    fn new(digit: char, compression: Compression) -> Option<NewLayer> {
        Some(NewLayer { digest: digest(digit).parse().unwrap(), size: 9, compression })
    }

    #[test]
    fn what_is_about_the_blob_changes_and_the_rest_stays() {
        let manifest = json!({
            "schemaVersion": 2, "x": [1], "annotations": {"k": "v"},
            "config": {"mediaType": media_type::OCI_CONFIG, "digest": digest('0'), "size": 2},
            "layers": [
                {"mediaType": format!("{OCI}tar+zstd"), "digest": digest('1'), "size": 5, "annotations": {
                    "io.github.containers.zstd-chunked.manifest-checksum": "x", "own": "y"}},
                {"mediaType": format!("{OCI_FOREIGN}tar+gzip"), "digest": digest('2'), "size": 6, "urls": ["u"],
                    "annotations": {"containerd.io/snapshot/stargz/toc.digest": "x"}},
                {"mediaType": "text/plain", "digest": digest('3'), "size": 7},
            ],
        });
        let layers = [new('4', Compression::Gzip), new('5', Compression::None), None];
        let changed = with_layers(manifest.to_string().as_bytes(), &layers).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        let mut expected = manifest;
        expected["layers"][0] = json!({"mediaType": format!("{OCI}tar+gzip"), "digest": digest('4'), "size": 9,
            "annotations": {"own": "y"}});
        expected["layers"][1] =
            json!({"mediaType": format!("{OCI_FOREIGN}tar"), "digest": digest('5'), "size": 9});
        assert_eq!(changed, expected);
    }

    #[test]
    fn dockers_format_has_no_zstd() {
        let manifest = |one: &str| {
            json!({
                "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
                "config": {"mediaType": media_type::DOCKER_CONFIG, "digest": digest('0'), "size": 2},
                "layers": [
                    {"mediaType": format!("{DOCKER}tar.gzip"), "digest": digest('1'), "size": 5},
                    {"mediaType": one, "digest": digest('2'), "size": 6},
                ],
            })
        };
        let docker = manifest(&format!("{DOCKER}tar")).to_string();
        let of = |layers: &[Option<NewLayer>]| -> Value {
            serde_json::from_slice(&with_layers(docker.as_bytes(), layers).unwrap()).unwrap()
        };
        let same = of(&[None, new('3', Compression::Gzip)]);
        assert_eq!(same["mediaType"], media_type::DOCKER_MANIFEST);
        assert_eq!(same["layers"][1]["mediaType"], format!("{DOCKER}tar.gzip"));
        let other = of(&[None, new('3', Compression::Zstd)]);
        assert_eq!(other["mediaType"], media_type::OCI_MANIFEST);
        assert_eq!(other["config"]["mediaType"], media_type::OCI_CONFIG);
        assert_eq!(other["layers"][0]["mediaType"], format!("{OCI}tar+gzip"));
        assert_eq!(other["layers"][1]["mediaType"], format!("{OCI}tar+zstd"));
    }

    #[test]
    fn an_index_follows_its_manifests() {
        let index = json!({"mediaType": media_type::DOCKER_LIST, "manifests": [
            {"mediaType": media_type::DOCKER_MANIFEST, "digest": digest('1'), "size": 5, "platform": {"os": "x"}},
            {"mediaType": media_type::DOCKER_MANIFEST, "digest": digest('2'), "size": 6},
        ]});
        let child = NewChild {
            old: digest('1').parse().unwrap(),
            digest: digest('3').parse().unwrap(),
            size: 8,
            media_type: media_type::OCI_MANIFEST.to_owned(),
        };
        let changed = with_children(index.to_string().as_bytes(), &[child]).unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(changed["mediaType"], media_type::OCI_INDEX);
        assert_eq!(
            changed["manifests"][0],
            json!({"mediaType": media_type::OCI_MANIFEST, "digest": digest('3'), "size": 8, "platform": {"os": "x"}})
        );
        assert_eq!(changed["manifests"][1], index["manifests"][1]);
    }
}
