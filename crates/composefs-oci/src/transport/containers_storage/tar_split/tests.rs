use std::{collections::BTreeMap, io::Cursor};

use super::*;

#[derive(Default)]
struct InMemory(BTreeMap<Vec<u8>, Vec<u8>>);

impl InMemory {
    fn with(mut self, name: &str, contents: &str) -> Self {
        self.0.insert(name.into(), contents.into());
        self
    }
}

impl Files for InMemory {
    fn open(&self, name: &[u8], _: u64, _: u64) -> Result<Box<dyn Read + Send>, StorageError> {
        let contents = self.0.get(name).cloned();
        let contents = contents.ok_or_else(|| StorageError::BadPath(String::from_utf8_lossy(name).into()))?;
        Ok(Box::new(Cursor::new(contents)))
    }
}

fn read(lines: &str, files: InMemory) -> Result<String, String> {
    let mut out = Vec::new();
    let mut tar = Reassembler::new(Parts::new(lines.as_bytes()), files);
    // Byte by byte, then all at once.
    let mut byte = [0];
    while let got @ 1.. = tar.read(&mut byte).map_err(|error| error.to_string())? {
        out.extend_from_slice(&byte[..got]);
    }
    Ok(String::from_utf8(out).unwrap())
}

const TWO: &str = r#"{"type":2,"payload":"SEVBRA=="}
{"type":1,"name":"x","size":5,"payload":"Ldh4ZAMQAAA=","position":1}
{"type":2,"payload":"UEFE"}
{"type":1,"name":"dir/","payload":null,"position":3}
{"type":1,"name_raw":"/w==","size":4,"payload":null,"position":4}
{"type":2,"payload":"","position":5}
"#;

fn two() -> InMemory {
    let mut files = InMemory::default().with("x", "xattr");
    files.0.insert(vec![0xff], b"gone".to_vec());
    files
}

#[test]
fn parts_become_the_whole() {
    assert_eq!(read(TWO, two()).unwrap(), "HEADxattrPADgone");
    assert_eq!(length(Parts::new(TWO.as_bytes())).unwrap(), 16);
    assert_eq!(read("", InMemory::default()).unwrap(), "");
}

#[test]
fn what_changed_is_named() {
    let fault = |contents: &str| read(TWO, two().with("x", contents)).unwrap_err();
    assert_eq!(fault("xattR"), "the contents of x are not those that were stored");
    assert_eq!(fault("xat"), "x has 3 bytes; there were 5 when the layer was stored");
}

#[test]
fn nothing_comes_after_a_fault() {
    let mut tar = Reassembler::new(Parts::new(TWO.as_bytes()), two().with("x", "xattR"));
    let mut out = Vec::new();
    assert!(tar.read_to_end(&mut out).is_err());
    assert!(tar.read(&mut [0; 16]).is_err());
    assert!(tar.read(&mut [0; 16]).is_err());
}

#[test]
fn other_lines_are_refused() {
    for (line, reason) in [
        ("{", "EOF"),
        (r#"{"type":3}"#, "unknown type 3"),
        (r#"{"type":1,"size":1}"#, "without a name"),
        (r#"{"type":1,"name":"x","size":-1}"#, "invalid value"),
        (r#"{"type":1,"name":"x","size":1,"payload":"AAAA"}"#, "8 bytes"),
        (r#"{"type":2,"payload":"%"}"#, "Invalid"),
    ] {
        let error = read(line, InMemory::default()).unwrap_err();
        assert!(error.starts_with("line 1 of the tar-split: ") && error.contains(reason), "{error}");
    }
    let long = format!(r#"{{"type":2,"payload":"{}"}}"#, "A".repeat(LINE_MAX));
    assert!(read(&long, InMemory::default()).unwrap_err().contains("longer than"));
}

#[test]
fn sparse_members_are_refused() {
    let header = STANDARD.encode(b"22 GNU.sparse.major=1\n");
    let lines =
        format!("{{\"type\":2,\"payload\":\"{header}\"}}\n{{\"type\":1,\"name\":\"s\",\"size\":9}}\n");
    let error = read(&lines, InMemory::default()).unwrap_err();
    assert!(error.starts_with("s is sparse in the layer's tar"), "{error}");
}
