use super::*;

fn file(features: &str, formats: &str) -> Vec<u8> {
    format!(
        r#"{{"version":1,"algorithm":"fsverity-sha512-12","features":{features}{formats},"future":{{"x":[1]}}}}"#
    )
    .into_bytes()
}

#[test]
fn the_bytes_are_upstreams() {
    let meta = Meta::new(Algorithm::Sha256, ErofsFormats::only(FormatVersion::V1));
    let expected = r#"{
  "version": 1,
  "algorithm": "fsverity-sha256-12",
  "features": {
    "compatible": [],
    "read-only-compatible": [
      "v1_erofs"
    ],
    "incompatible": []
  },
  "erofs_formats": {
    "default": 1
  }
}
"#;
    assert_eq!(String::from_utf8(meta.to_bytes()).unwrap(), expected);
    let dual =
        ErofsFormats::only(FormatVersion::V1).with_extra(FormatVersion::V2).with_extra(FormatVersion::V1);
    assert!(String::from_utf8(Meta::new(Algorithm::Sha512, dual).to_bytes()).unwrap().ends_with(
        "  \"erofs_formats\": {\n    \"default\": 1,\n    \"extra\": [\n      2\n    ]\n  }\n}\n"
    ));
}

#[test]
fn what_is_written_reads_back() {
    for algorithm in Algorithm::ALL {
        for default in FormatVersion::ALL {
            for extra in FormatVersion::ALL {
                let meta = Meta::new(algorithm, ErofsFormats::only(default).with_extra(extra));
                assert_eq!(Meta::parse(&meta.to_bytes()).unwrap(), meta);
            }
        }
    }
}

#[test]
fn effective_formats() {
    use FormatVersion::{V0, V1, V2};
    let v1 = r#"{"read-only-compatible":["v1_erofs"]}"#;
    for (features, formats, default, extra) in [
        ("{}", "", V2, vec![]),
        (v1, "", V1, vec![]),
        (v1, r#","erofs_formats":{"default":2}"#, V1, vec![]),
        ("{}", r#","erofs_formats":{"default":2}"#, V2, vec![]),
        ("{}", r#","erofs_formats":{"default":1}"#, V1, vec![]),
        ("{}", r#","erofs_formats":{"default":0}"#, V0, vec![]),
        (v1, r#","erofs_formats":{"default":2,"extra":[1]}"#, V2, vec![V1]),
        (v1, r#","erofs_formats":{"default":1,"extra":[2,0]}"#, V1, vec![V0, V2]),
        (v1, r#","erofs_formats":{}"#, V1, vec![]),
    ] {
        let meta = Meta::parse(&file(features, formats)).unwrap();
        assert_eq!(meta.erofs, ErofsFormats { default, extra }, "{features} {formats}");
        assert_eq!(meta.algorithm, Algorithm::Sha512);
    }
}

#[test]
fn features_and_versions() {
    let meta =
        Meta::parse(&file(r#"{"compatible":["a"],"read-only-compatible":["v1_erofs","b"]}"#, "")).unwrap();
    assert_eq!(meta.unknown_read_only, ["b"]);
    assert!(matches!(
        Meta::parse(&file(r#"{"incompatible":["c"]}"#, "")),
        Err(MetaError::Incompatible(names)) if names == ["c"]
    ));
    let text =
        |version: &str| format!(r#"{{"version":{version},"algorithm":"fsverity-sha256-12"}}"#).into_bytes();
    assert_eq!(Meta::parse(&text("0")).unwrap().version, 0);
    assert_eq!(
        Meta::parse(&text("2")).unwrap_err().to_string(),
        "unsupported repository format version 2 (this tool supports up to 1)"
    );
    for bad in ["", "-1", "1.5", "\"1\"", "4294967296"] {
        assert!(Meta::parse(&text(bad)).is_err(), "{bad}");
    }
}

#[test]
fn other_algorithms_and_formats_are_refused() {
    for bad in ["sha256-12", "fsverity-sha256-16", "fsverity-md5-12", "fsverity-sha256", ""] {
        let text = format!(r#"{{"version":1,"algorithm":"{bad}"}}"#);
        assert!(matches!(Meta::parse(text.as_bytes()), Err(MetaError::Algorithm(_))), "{bad}");
    }
    assert!(matches!(
        Meta::parse(&file("{}", r#","erofs_formats":{"default":3}"#)),
        Err(MetaError::ErofsFormat(3))
    ));
    assert!(matches!(Meta::parse(b"{}"), Err(MetaError::Json(_))));
    assert!(matches!(Meta::parse(&vec![b' '; 1_100_000]), Err(MetaError::TooLarge)));
}
