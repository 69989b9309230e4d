use super::*;

fn layer(media_type: &str, size: u64, kind: LayerKind, state: LayerState) -> PlannedLayer {
    let digest = crate::digest::Digest::sha256(media_type.as_bytes());
    let json = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
    let descriptor: Descriptor = serde_json::from_str(&json).unwrap();
    let name = composefs::name::StreamName::new(format!("oci-layer-{digest}")).unwrap();
    PlannedLayer { descriptor, kind, key: digest, name, state }
}

fn tar(media_type: &str) -> PlannedLayer {
    layer(media_type, 1000, LayerKind::Tar, LayerState::Comes)
}

#[test]
fn what_layers_take() {
    for (kind, expected) in [
        ("application/vnd.oci.image.layer.v1.tar+gzip", (1000, 2500)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", (1000, 3000)),
        ("application/vnd.oci.image.layer.v1.tar", (500, 1000)),
        ("application/x-unknown", (500, 1000)),
    ] {
        assert_eq!(bytes_of(&tar(kind), None), expected, "{kind}");
        assert_eq!(bytes_of(&tar(kind), Some(Sharing::WherePossible)), (0, 0), "{kind}");
        assert_eq!(bytes_of(&tar(kind), Some(Sharing::Never)), expected, "{kind}");
        for whole in [LayerKind::Blob, LayerKind::Packed] {
            assert_eq!(bytes_of(&layer(kind, 1000, whole, LayerState::Comes), None), (1000, 1000), "{kind}");
        }
    }
}

#[test]
fn what_estargz_says() {
    let mut layer = tar("application/vnd.oci.image.layer.v1.tar+gzip");
    for (said, expected) in [("7000", 7000), ("10", 1000), ("x", 2500), ("-1", 2500)] {
        layer.descriptor.set_annotations(Some([(ESTARGZ_SIZE.to_owned(), said.to_owned())].into()));
        assert_eq!(bytes_of(&layer, None), (1000, expected), "{said}");
    }
}

#[test]
fn sizes_that_cannot_be_do_not_overflow() {
    let mut space = Space::default();
    for kind in ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd"]
    {
        let layer = layer(kind, u64::MAX, LayerKind::Tar, LayerState::Comes);
        space.add_layer(&layer, None);
        space.add_layer(&layer, None);
    }
    assert_eq!(space.needed, u64::MAX);
    assert_eq!(space.likely, u64::MAX);
}
