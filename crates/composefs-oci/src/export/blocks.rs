//! Blocks of a stream compressed side by side, their order kept. The output depends on the input and the setting alone:
//! not on the number of threads, and not on how the input comes.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::options::Setting;

/// Bytes of a block for gzip.
const GZIP_BLOCK: usize = 1 << 20;
/// Bytes of a block for zstd, which is a frame of its own.
const ZSTD_BLOCK: usize = 4 << 20;
/// How far back gzip looks.
const WINDOW: usize = 32 << 10;
/// A member's header: no name, no time, no system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// The last block of a member, with nothing in it.
const LAST: [u8; 2] = [3, 0];

/// A block on its way.
struct Job {
    /// What stands before it, which may be referred to.
    before: Vec<u8>,
    bytes: Vec<u8>,
    reply: SyncSender<io::Result<Done>>,
}

struct Done {
    packed: Vec<u8>,
    crc: Crc,
}

/// Compresses `input` to its end. Memory is two blocks for each thread and a few more.
pub(super) fn compress(
    input: &mut dyn Read,
    output: &mut dyn Write,
    setting: Setting,
    threads: usize,
) -> io::Result<()> {
    let threads = threads.max(1);
    let (jobs, queue) = sync_channel::<Job>(1);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            std::thread::Builder::new()
                .name("pack".to_owned())
                .spawn_scoped(scope, || work(&queue, setting))?;
        }
        // Dropped before the threads are waited for: it is what ends them.
        let jobs = jobs;
        feed(input, output, setting, threads, &jobs)
    })
}

fn feed(
    input: &mut dyn Read,
    output: &mut dyn Write,
    setting: Setting,
    threads: usize,
    jobs: &SyncSender<Job>,
) -> io::Result<()> {
    let gone = || io::Error::other("a thread that compresses is gone");
    let is_gzip = matches!(setting, Setting::Gzip(_));
    let size = if is_gzip { GZIP_BLOCK } else { ZSTD_BLOCK };
    let mut pending: VecDeque<Receiver<io::Result<Done>>> = VecDeque::new();
    let mut crc = Crc::new();
    let mut before = Vec::new();
    let mut blocks = 0_u64;
    if is_gzip {
        output.write_all(&HEADER)?;
    }
    let mut write = |reply: Receiver<io::Result<Done>>, output: &mut dyn Write| {
        let done = reply.recv().map_err(|_| gone())??;
        crc.combine(&done.crc);
        output.write_all(&done.packed)
    };
    loop {
        let mut bytes = Vec::with_capacity(size);
        input.take(size as u64).read_to_end(&mut bytes)?;
        // A frame there must be, if it is one of nothing.
        let is_end = bytes.is_empty() && (is_gzip || blocks > 0);
        if is_end {
            break;
        }
        let short = bytes.len() < size;
        let next = if is_gzip {
            bytes.get(bytes.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec()
        } else {
            Vec::new()
        };
        let (reply, answer) = sync_channel(1);
        jobs.send(Job { before: std::mem::replace(&mut before, next), bytes, reply }).map_err(|_| gone())?;
        pending.push_back(answer);
        blocks = blocks.saturating_add(1);
        while pending.len() > threads {
            if let Some(reply) = pending.pop_front() {
                write(reply, output)?;
            }
        }
        if short {
            break;
        }
    }
    for reply in pending {
        write(reply, output)?;
    }
    if is_gzip {
        output.write_all(&LAST)?;
        output.write_all(&crc.sum().to_le_bytes())?;
        output.write_all(&crc.amount().to_le_bytes())?;
    }
    Ok(())
}

/// Compresses blocks until there are no more.
fn work(queue: &Mutex<Receiver<Job>>, setting: Setting) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let done = block(&job, setting);
        drop((job.before, job.bytes));
        // Who asked may have given up.
        let _ = job.reply.send(done);
    }
}

fn block(job: &Job, setting: Setting) -> io::Result<Done> {
    match setting {
        Setting::Gzip(level) => {
            let mut crc = Crc::new();
            crc.update(&job.bytes);
            Ok(Done { packed: deflate(&job.before, &job.bytes, level)?, crc })
        }
        Setting::Zstd(level) => {
            let packed = zstd::bulk::Compressor::new(level)?.compress(&job.bytes)?;
            Ok(Done { packed, crc: Crc::new() })
        }
    }
}

/// Makes blocks of deflate that end at a byte, and with which it does not end.
fn deflate(before: &[u8], bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(Compression::new(level), false);
    // At level 0 nothing is referred to.
    if !before.is_empty() && level > 0 {
        state.set_dictionary(before).map_err(io::Error::other)?;
    }
    let mut packed = Vec::with_capacity(bytes.len() / 2);
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        packed.reserve(WINDOW);
        let rest = bytes.get(taken..).unwrap_or_default();
        let status = state.compress_vec(rest, &mut packed, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that is left says that all of it is out.
        if status == Status::BufError
            || (state.total_in() == bytes.len() as u64 && packed.len() < packed.capacity())
        {
            return Ok(packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decompress::Decompressor;

    /// Something between noise and monotony.
    fn sample(size: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(format!("line {} of {}\n", state >> 24, state >> 16).as_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    fn packed(bytes: &[u8], setting: Setting, threads: usize) -> Vec<u8> {
        let mut out = Vec::new();
        compress(&mut &bytes[..], &mut out, setting, threads).unwrap();
        out
    }

    const SETTINGS: [Setting; 6] = [
        Setting::Gzip(0),
        Setting::Gzip(1),
        Setting::Gzip(6),
        Setting::Gzip(9),
        Setting::Zstd(1),
        Setting::Zstd(4),
    ];

    #[test]
    fn comes_back_whatever_the_size() {
        let sizes = [0, 1, 511, GZIP_BLOCK - 1, GZIP_BLOCK, GZIP_BLOCK + 1, 3 * GZIP_BLOCK];
        for setting in SETTINGS {
            for size in sizes {
                let bytes = sample(size);
                let packed = packed(&bytes, setting, 3);
                let mut back = Vec::new();
                Decompressor::new(&packed[..]).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == bytes, "{setting} {size}");
                if let Setting::Gzip(_) = setting {
                    // One member, as some readers want.
                    let mut one = Vec::new();
                    flate2::bufread::GzDecoder::new(&packed[..]).read_to_end(&mut one).unwrap();
                    assert!(one == bytes, "{setting} {size}");
                }
            }
        }
        let bytes = sample(2 * ZSTD_BLOCK + 5);
        assert_eq!(zstd::decode_all(&packed(&bytes, Setting::Zstd(3), 2)[..]).unwrap(), bytes);
    }

    /// A reader that gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(4097);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn threads_and_reads_change_nothing() {
        let bytes = sample(5 * GZIP_BLOCK + 77);
        for setting in SETTINGS {
            let one = packed(&bytes, setting, 1);
            assert!(packed(&bytes, setting, 7) == one, "{setting}");
            let mut slow = Vec::new();
            compress(&mut Slow(&bytes), &mut slow, setting, 2).unwrap();
            assert!(slow == one, "{setting}");
        }
    }

    #[test]
    fn blocks_cost_little() {
        let bytes = sample(4 * GZIP_BLOCK);
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), Compression::new(6));
        whole.write_all(&bytes).unwrap();
        let (whole, blocks) = (whole.finish().unwrap().len(), packed(&bytes, Setting::Gzip(6), 4).len());
        assert!(blocks < whole + whole / 200, "{blocks} instead of {whole}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let bytes = sample(GZIP_BLOCK + 1);
        let mut input = bytes.as_slice().chain(Broken);
        assert!(compress(&mut input, &mut io::sink(), Setting::Gzip(6), 2).is_err());
    }
}
