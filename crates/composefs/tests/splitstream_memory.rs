//! How much memory splitstreams take: a process of its own, since it looks at its peak.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{convert::Infallible, io};

use composefs::{
    digest::{Algorithm, ObjectId},
    splitstream::{Builder, ContentType, Limits, Outline, SplitStream, SplitstreamError, replay},
};

/// The largest resident size of this process so far, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn id(number: u64) -> ObjectId {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    ObjectId::from_bytes(Algorithm::Sha256, &digest).unwrap()
}

#[test]
fn large_streams_fit_in_48_mib() {
    let before = peak_mib();

    // 150,000 files, then one inline run of 256 MiB.
    let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_LAYER).unwrap();
    let mut stream = Vec::new();
    for number in 0..150_000_u64 {
        let mut header = [0; 512];
        header[..8].copy_from_slice(&number.to_le_bytes());
        builder.inline(&header).unwrap();
        builder.external(&id(number), 100).unwrap();
        stream.append(&mut builder.take_output());
    }
    let zeros = vec![0; 1 << 20];
    for _ in 0..256 {
        builder.inline(&zeros).unwrap();
        stream.append(&mut builder.take_output());
    }
    let built = builder.finish().unwrap();
    let file = [built.head, stream, built.tail].concat();
    let parsed =
        SplitStream::parse(&file[..], file.len() as u64, Algorithm::Sha256, &Limits::default()).unwrap();
    assert_eq!(parsed.object_refs().len(), 150_000);
    let replayed =
        replay(&parsed, &mut |_| Ok::<_, Infallible>([0; 100].as_slice()), &mut io::sink()).unwrap();
    assert!(replayed.agrees());

    // A claim of 4 TiB, and 256 MiB of what is one record of the named refs.
    let huge = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/repo/splitstream/chunk-huge-inline.split"
    ))
    .unwrap();
    let parsed =
        SplitStream::parse(&huge[..], huge.len() as u64, Algorithm::Sha256, &Limits::default()).unwrap();
    assert!(matches!(Outline::of(&parsed), Err(SplitstreamError::InlineCut { .. })));
    let bomb = zstd::bulk::compress(&vec![b'1'; 1 << 20], 3).unwrap().repeat(256);
    let mut file = file[..112].to_vec();
    for (at, range) in [(32, 112..112), (48, 112..112), (64, 112..112), (80, 112..112 + bomb.len() as u64)] {
        file[at..at + 8].copy_from_slice(&range.start.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&range.end.to_le_bytes());
    }
    file.extend_from_slice(&bomb);
    let refused = SplitStream::parse(&file[..], file.len() as u64, Algorithm::Sha256, &Limits::default());
    assert!(matches!(refused, Err(SplitstreamError::NamedRef { .. })));

    let used = peak_mib() - before;
    assert!(used < 48, "{used} MiB");
}
