use super::*;
use crate::build::pax_record;

fn read(data: &[u8]) -> Result<Pax, PaxError> {
    let whole = || {
        let mut records = Records::new(Limits::default().sparse_segments(10));
        records.push(data)?;
        records.finish()
    };
    let split = || {
        let mut records = Records::new(Limits::default().sparse_segments(10));
        data.chunks(1).try_for_each(|byte| records.push(byte))?;
        records.finish()
    };
    let (whole, split): (Result<Pax, PaxError>, Result<Pax, PaxError>) = (whole(), split());
    assert_eq!(format!("{whole:?}"), format!("{split:?}"));
    whole
}

fn records(pairs: &[(&str, &[u8])]) -> Result<Pax, PaxError> {
    read(&pairs.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value)).collect::<Vec<_>>())
}

#[test]
fn values_are_bytes_and_the_last_one_counts() {
    let pax = records(&[
        ("path", b"a"),
        ("path", b"b=\n\0\xff"),
        ("linkpath", b""),
        ("uid", b"x"),
        ("uid", b"4294967295"),
        ("gid", b"4294967296"),
        ("size", b"100"),
        ("SCHILY.xattr.user.k", b"a=b\nc"),
        ("SCHILY.xattr.user.k=v", b""),
        ("LIBARCHIVE.xattr.user.b64", b"YmFy"),
        ("comment", b"ignored"),
        ("atime", b"garbage"),
    ]);
    let pax = pax.unwrap();
    assert_eq!(pax.path.unwrap(), b"b=\n\0\xff");
    assert_eq!(pax.link_path.unwrap(), b"");
    assert_eq!((pax.uid, pax.gid), (Some(Ok(u32::MAX)), Some(Err(NumberError::TooLarge))));
    assert_eq!(pax.size, Some(100));
    // The first `=` separates, whoever wrote the record meant what.
    assert_eq!(pax.xattrs.into_iter().collect::<Vec<_>>(), [(b"user.k".to_vec(), b"v=".to_vec())]);
    assert!(!pax.nameless_xattr);
    assert!(records(&[("SCHILY.xattr.", b"v")]).unwrap().nameless_xattr);
    assert!(read(b"").is_ok());
    assert!(read(b"5 a=\n0008 b=\n").is_ok());
}

#[test]
fn refuses_malformed_records() {
    for (data, error) in [
        (&b"x a=b\n"[..], PaxError::Length),
        (b" 6 a=b\n", PaxError::Length),
        (b"+6 a=b\n", PaxError::Length),
        (b"6\ta=b\n", PaxError::Length),
        (b"2 \n", PaxError::Length),
        (b"0 a=b\n", PaxError::Length),
        (b"99999999999999999999 a=b\n", PaxError::Length),
        (b"6 a=b\n\0\0", PaxError::Length),
        (b"7 abcd\n", PaxError::NoSeparator),
        (b"3 \n5 a=\n", PaxError::NoSeparator),
        (b"6 a=bc6 a=b\n", PaxError::NoNewline),
        (b"4 a=\n", PaxError::NoNewline),
        (b"7 a=b\n", PaxError::Cut),
        (b"6 a=b", PaxError::Cut),
        (b"6", PaxError::Cut),
        (b"6 ", PaxError::Cut),
        (b"7 \xff=b\n", PaxError::Key),
        (b"7 size=1\n", PaxError::NoNewline),
        (b"9 size=x\n", PaxError::Size { source: NumberError::Malformed }),
        (b"8 size=\n", PaxError::Size { source: NumberError::Malformed }),
    ] {
        assert_eq!(read(data).err(), Some(error), "{}", data.escape_ascii());
    }
}

#[test]
fn mtime_is_the_real_number() {
    for (text, seconds, nanos) in [
        ("0", 0, 0),
        ("1700000000", 1_700_000_000, 0),
        ("1700000000.5", 1_700_000_000, 500_000_000),
        ("1700000000.123456789999", 1_700_000_000, 123_456_789),
        ("1.", 1, 0),
        ("-1", -1, 0),
        ("-1.5", -2, 500_000_000),
        ("-0.5", -1, 500_000_000),
        ("-1.0000000001", -1, 0),
        ("-9223372036854775808", i64::MIN, 0),
        ("9223372036854775807.999999999", i64::MAX, 999_999_999),
    ] {
        assert_eq!(mtime(text.as_bytes()), Ok(Mtime { seconds, nanos }), "{text}");
    }
    for text in ["", ".5", "-", "-.5", "+1", "1.x", "1.5.5", " 1", "1e3", "--1"] {
        assert_eq!(mtime(text.as_bytes()), Err(NumberError::Malformed), "{text}");
    }
    for text in ["9223372036854775808", "-9223372036854775808.5", "99999999999999999999"] {
        assert_eq!(mtime(text.as_bytes()), Err(NumberError::TooLarge), "{text}");
    }
}

#[test]
fn sparse_forms_are_told_apart() {
    assert!(
        records(&[("GNU.sparse.size", b"9"), ("GNU.sparse.name", b"n")]).unwrap().take_sparse(9).is_none()
    );
    let mut pairs = records(&[
        ("GNU.sparse.size", b"100"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"5"),
        ("GNU.sparse.offset", b"50"),
        ("GNU.sparse.numbytes", b"5"),
    ])
    .unwrap();
    let Some((SparseForm::Listed(list), Some(100))) = pairs.take_sparse(9) else { panic!() };
    assert_eq!(list.finish(100, 10).unwrap().segments().len(), 2);
    let mut map = records(&[("GNU.sparse.size", b"100"), ("GNU.sparse.map", b"0,5,50,5")]).unwrap();
    let Some((SparseForm::Listed(list), Some(100))) = map.take_sparse(9) else { panic!() };
    assert_eq!(list.finish(100, 10).unwrap().segments().len(), 2);
    let mut lines = records(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")]).unwrap();
    assert!(matches!(lines.take_sparse(9), Some((SparseForm::Lines, None))));
    let mut odd = records(&[("GNU.sparse.major", b"2")]).unwrap();
    let Some((SparseForm::Listed(list), None)) = odd.take_sparse(9) else { panic!() };
    assert_eq!(list.fault(), Some(SparseError::Version { major: 2, minor: 0 }));
    for bad in [
        &[("GNU.sparse.numbytes", &b"5"[..])][..],
        &[("GNU.sparse.offset", b"5")],
        &[("GNU.sparse.offset", b"5"), ("GNU.sparse.offset", b"5")],
        &[("GNU.sparse.offset", b"x"), ("GNU.sparse.numbytes", b"5")],
    ] {
        let Some((SparseForm::Listed(list), _)) = records(bad).unwrap().take_sparse(9) else { panic!() };
        assert_eq!(list.fault(), Some(SparseError::Malformed));
    }
}

/// 64 MiB of records made gigabytes in memory, for members that no image can hold.
#[test]
fn what_no_tree_holds_is_not_kept() {
    let limits = Limits::default().name_bytes(100).xattr_bytes(100);
    let read = |data: &[u8]| {
        let mut records = Records::new(limits);
        data.chunks(7).try_for_each(|piece| records.push(piece)).unwrap();
        records.finish().unwrap()
    };
    let long = [b'n'; 101];
    for key in ["path", "linkpath", "GNU.sparse.name"] {
        assert!(read(&pax_record(key.as_bytes(), &long)).long_name);
        assert!(!read(&pax_record(key.as_bytes(), &long[..100])).long_name);
    }
    let xattr = |name: &str, value: &[u8]| pax_record(format!("SCHILY.xattr.{name}").as_bytes(), value);
    let several = [xattr("a", b"1"), xattr("b", &long[..60]), xattr("c", b"3"), xattr("d", b"")].concat();
    let pax = read(&several);
    assert!(pax.many_xattrs && pax.xattrs.is_empty());
    assert_eq!(read(&xattr("a", &long[..83])).xattrs.len(), 1);
    assert!(read(&xattr("a", &long[..84])).many_xattrs);
    let name = "n".repeat(KEY_MAX + 1);
    assert!(read(&[xattr(&name, b""), pax_record(b"path", b"x")].concat()).many_xattrs);
    let pax = read(&[pax_record(name.as_bytes(), b""), pax_record(b"path", b"x")].concat());
    assert!(!pax.many_xattrs && pax.path.as_deref() == Some(b"x"));
}
