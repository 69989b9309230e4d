//! Splitstreams of both algorithms and all layouts: tables, chunks, and that a rebuilt one means the same.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs::{
    digest::Algorithm,
    splitstream::{Builder, Chunk, Layout, Limits, Outline, SplitStream},
};

pub fn run(data: &[u8]) {
    let limits = Limits::default().table_bytes(1 << 20).named_refs_bytes(1 << 20).stream_bytes(16 << 20);
    for algorithm in Algorithm::ALL {
        let Ok(stream) = SplitStream::parse(data, data.len() as u64, algorithm, &limits) else { continue };
        let Ok(outline) = Outline::of(&stream) else { continue };
        if stream.layout() == Layout::V03 {
            continue;
        }
        // What one reader takes, a writer can write, and it means the same but for the sizes nobody checks.
        let mut builder = Builder::new(algorithm, stream.content_type()).unwrap();
        for id in stream.stream_refs().iter() {
            builder.stream_ref(&id).unwrap();
        }
        for (name, id) in stream.named_refs() {
            builder.named_ref(name, &id).unwrap();
        }
        let mut chunks = stream.chunks().unwrap();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            match chunk {
                Chunk::Inline(bytes) => builder.inline(bytes).unwrap(),
                Chunk::External(id) => builder.external(&id, 0).unwrap(),
            }
        }
        for id in stream.object_refs().iter() {
            builder.object_ref(&id).unwrap();
        }
        let file = builder.finish().unwrap().into_bytes().unwrap();
        let again = SplitStream::parse(&file[..], file.len() as u64, algorithm, &Limits::default()).unwrap();
        let mut again = Outline::of(&again).unwrap();
        again.stream_size = outline.stream_size;
        assert_eq!(again, outline);
    }
}
