use super::{
    origin::{Answer, Body},
    *,
};
use crate::transport::registry::{
    client::ByteRange,
    fault::{Asked, Fault},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// An origin that does something else at every turn, the same for the same seed; bytes come in odd pieces.
struct Moody {
    bytes: Bytes,
    seed: AtomicU64,
    faults: u64,
    sent: Arc<AtomicU64>,
}

struct MoodyBody {
    bytes: Bytes,
    /// It breaks off after so many.
    cut: Option<usize>,
    step: usize,
    sent: Arc<AtomicU64>,
}

fn failure(fault: Fault, transient: bool) -> Failure {
    let error = RegistryError { asked: Asked::Tags, name: "x".to_owned(), by_hand: false, fault };
    Failure { transient, ..Failure::fatal(error) }
}

impl Moody {
    fn roll(&self, sides: u64) -> u64 {
        let mut state = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        for shift in [30, 27, 31] {
            state = (state ^ (state >> shift)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        state % sides
    }
}

impl Origin for Moody {
    type Body = MoodyBody;

    async fn get(
        &self,
        range: Option<ByteRange>,
        if_range: Option<&str>,
    ) -> Result<Answer<MoodyBody>, Failure> {
        tokio::time::sleep(Duration::from_micros(self.roll(300))).await;
        let bad = self.roll(100) < self.faults;
        let etag = (self.roll(2) == 0).then(|| format!("\"{}\"", self.roll(2)));
        let total = Some(self.bytes.len() as u64);
        let body = |bytes: Bytes| MoodyBody {
            cut: bad.then(|| self.roll(bytes.len() as u64 + 1) as usize),
            bytes,
            step: self.roll(5000) as usize + 1,
            sent: Arc::clone(&self.sent),
        };
        let whole = || Ok(Answer::Whole { body: body(self.bytes.clone()), total, etag: etag.clone() });
        let Some((first, last)) = range else { return whole() };
        if first >= self.bytes.len() as u64 {
            return Ok(Answer::Beyond { total });
        }
        let end = last.map_or(self.bytes.len() as u64, |last| last + 1);
        let part = self.bytes.slice(first as usize..end as usize);
        match (bad, self.roll(12)) {
            (true, 0) => return Err(failure(Fault::TimedOut { host: "x".to_owned() }, true)),
            (true, 1) => return Err(self.senseless("odd")),
            (true, 2) => return whole(),
            (true, 3) => {
                let shorter = part.slice(..part.len().div_ceil(2));
                let end = first + shorter.len() as u64;
                return Ok(Answer::Part { body: body(shorter), end, total: None, etag });
            }
            _ => {}
        }
        if if_range.is_some_and(|wanted| Some(wanted) != etag.as_deref()) && bad {
            return whole();
        }
        Ok(Answer::Part { body: body(part), end, total, etag })
    }

    fn senseless(&self, reason: &str) -> Failure {
        failure(Fault::Answer { host: "x".to_owned(), reason: reason.to_owned() }, false)
    }

    fn early(&self) -> Failure {
        failure(Fault::TimedOut { host: "x".to_owned() }, true)
    }
}

impl Body for MoodyBody {
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        tokio::task::yield_now().await;
        let mut count = self.step.min(self.bytes.len());
        if let Some(cut) = &mut self.cut {
            if *cut == 0 {
                return Err(failure(Fault::TimedOut { host: "x".to_owned() }, true));
            }
            count = count.min(*cut);
            *cut -= count;
        }
        self.sent.fetch_add(count as u64, Ordering::SeqCst);
        Ok((count > 0).then(|| self.bytes.split_to(count)))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn plan(size: u64) -> Plan {
    let moment = Duration::from_micros(50);
    // However little comes between two faults, it shall go on.
    let retries = RetryOptions::default().limit(100_000).pauses(moment, moment);
    let mut split = SplitOptions::default().sizes(20_000, 7_000);
    // Any measurement will do, so that lanes come and go.
    split.gain = 0.5;
    Plan { size, retries, split, traffic: Traffic::default() }
}

/// Reads a blob from a moody origin; returns how much it sent.
fn read(seed: u64, length: usize, faults: u64) -> u64 {
    let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251) as u8).collect();
    let (runtime, sent) = (runtime(), Arc::new(AtomicU64::new(0)));
    let origin =
        Moody { bytes: bytes.clone().into(), seed: AtomicU64::new(seed), faults, sent: Arc::clone(&sent) };
    let handle = runtime.handle();
    let mut download = runtime.block_on(open(handle, origin, plan(length as u64))).unwrap();
    let mut got = Vec::new();
    download.read_to_end(&mut got).unwrap();
    assert!(got == bytes, "seed {seed}: {} of {length} bytes", got.len());
    sent.load(Ordering::SeqCst)
}

#[test]
fn whatever_happens_the_bytes_are_right() {
    for seed in 0..60 {
        let length = [0, 1, 19_999, 20_000, 20_001, 150_000, 400_000][seed as usize % 7];
        read(seed, length, seed % 5 * 12);
    }
}

#[test]
fn without_faults_no_byte_comes_twice() {
    for seed in 100..110 {
        assert_eq!(read(seed, 300_000, 0), 300_000);
    }
}

#[test]
fn a_runtime_that_goes_away_ends_the_reading() {
    let runtime = runtime();
    let bytes = Bytes::from(vec![7; 30 << 20]);
    let origin = Moody { bytes: bytes.clone(), seed: AtomicU64::new(1), faults: 0, sent: Arc::default() };
    let mut download = runtime.block_on(open(runtime.handle(), origin, plan(bytes.len() as u64))).unwrap();
    runtime.shutdown_background();
    let mut got = Vec::new();
    assert!(download.read_to_end(&mut got).is_err());
    assert!(got.len() < bytes.len());
}
