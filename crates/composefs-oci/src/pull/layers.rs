//! The layers of a pull: those that are here are kept, the others imported side by side, largest first.

use std::{
    collections::BTreeMap,
    io::{Read, Write as _},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use composefs::{
    digest::ObjectId,
    progress::{Event, Observer},
    repo::{Commit, IngestStats, PoolOptions, StorePool, Writer},
    splitstream::ContentType,
};

use oci_spec::image::Descriptor;

use crate::{
    decompress::BUFFER,
    digest::{DiffId, Digest, VerifyingReader},
    error::{Error, Step},
    import::{LayerDigest, LayerImporter, streams::DocumentStream},
    transport::Source,
};

use super::{LayerKind, LayerPlan, PullOptions, layer_name, present};

/// After this long, layers that are done are made durable though others are still coming.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// The layers of an image, all here.
pub(super) struct Imported {
    /// The streams' ids in the order of the plans.
    pub(super) streams: Vec<ObjectId>,
    pub(super) objects: IngestStats,
    pub(super) inlined_bytes: u64,
    /// Those that have no entry yet.
    pub(super) fresh: Vec<(Digest, ObjectId)>,
}

/// What the importing threads share.
struct Shared<'p> {
    /// Still to do, the largest last.
    queue: Vec<&'p LayerPlan<'p>>,
    done: BTreeMap<Digest, ObjectId>,
    fresh: Vec<(Digest, ObjectId)>,
    running: usize,
    objects: IngestStats,
    inlined_bytes: u64,
    error: Option<Error>,
}

/// Has every planned layer in the repository. When one fails, those that are whole get their entries.
pub(super) fn import(
    writer: &Writer,
    source: &dyn Source,
    plans: &[LayerPlan<'_>],
    options: &PullOptions,
    commit: &mut Commit<'_>,
    observer: &dyn Observer,
) -> Result<Imported, Error> {
    let mut shared = Shared {
        queue: Vec::new(),
        done: BTreeMap::new(),
        fresh: Vec::new(),
        running: 0,
        objects: IngestStats::default(),
        inlined_bytes: 0,
        error: None,
    };
    for plan in plans {
        if shared.done.contains_key(&plan.key) || shared.queue.iter().any(|queued| queued.key == plan.key) {
            continue;
        }
        match writer.stream_entry(&layer_name(&plan.key)?)? {
            Some(stream) if present::is_whole(writer, &plan.key, &stream, plan.kind == LayerKind::Tar)? => {
                observer.event(&Event::Skipped { what: "layer", name: plan.key.as_str() });
                shared.done.insert(plan.key.clone(), stream);
            }
            _ => shared.queue.push(plan),
        }
    }
    shared.queue.sort_by_key(|plan| plan.descriptor.size());
    if !shared.queue.is_empty() {
        let pool = StorePool::new(writer, PoolOptions::default().threads(options.jobs))?;
        shared = run(writer, source, &pool, shared, options, commit, observer);
        drop(pool);
        if let Some(error) = shared.error.take() {
            keep(commit, &shared.fresh);
            return Err(error);
        }
    }
    let streams = plans
        .iter()
        .map(|plan| {
            shared.done.get(&plan.key).copied().ok_or_else(|| Error::Damaged {
                subject: format!("layer {}", plan.key),
                reason: "it was not imported".to_owned(),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Imported {
        streams,
        objects: shared.objects,
        inlined_bytes: shared.inlined_bytes,
        fresh: shared.fresh,
    })
}

/// Gives layers their entries, in the commit.
pub(super) fn register(commit: &mut Commit<'_>, layers: &[(Digest, ObjectId)]) -> Result<(), Error> {
    for (key, id) in layers {
        commit.stream(layer_name(key)?, *id);
    }
    Ok(())
}

/// Gives layers their entries at once, since the pull has failed. The error it failed with is the one to tell.
pub(super) fn keep(commit: &mut Commit<'_>, layers: &[(Digest, ObjectId)]) {
    if let Err(error) = register(commit, layers).and_then(|()| Ok(commit.checkpoint()?)) {
        tracing::warn!(%error, "layers that were imported could not be kept");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run<'p>(
    writer: &Writer,
    source: &dyn Source,
    pool: &StorePool,
    shared: Shared<'p>,
    options: &PullOptions,
    commit: &mut Commit<'_>,
    observer: &dyn Observer,
) -> Shared<'p> {
    let workers = options.jobs.clamp(1, shared.queue.len().max(1));
    let shared = Mutex::new(Shared { running: workers, ..shared });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let spawned = std::thread::Builder::new().name("layer".to_owned()).spawn_scoped(scope, || {
                let _running = Running { shared: &shared, changed: &changed };
                while let Some(plan) = next(&shared) {
                    let result = import_one(writer, source, pool, plan, options, observer);
                    let mut shared = lock(&shared);
                    match result {
                        Ok(layer) => {
                            shared.done.insert(plan.key.clone(), layer.stream);
                            shared.fresh.push((plan.key.clone(), layer.stream));
                            shared.objects.add(&layer.objects);
                            shared.inlined_bytes += layer.inlined_bytes;
                        }
                        Err(error) => {
                            shared.error.get_or_insert(error);
                        }
                    }
                    changed.notify_all();
                }
            });
            if let Err(source) = spawned {
                let mut shared = lock(&shared);
                shared.running -= 1;
                shared.error.get_or_insert(Error::source(Step::Spawn, "a layer", source));
            }
        }
        // Layers that are done are made durable from time to time, while others go on.
        let mut last = Instant::now();
        let mut state = lock(&shared);
        while state.running > 0 {
            (state, _) = changed.wait_timeout(state, CHECKPOINT).unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= CHECKPOINT && state.running > 0 && !state.fresh.is_empty() {
                let fresh = std::mem::take(&mut state.fresh);
                drop(state);
                let kept = register(commit, &fresh).and_then(|()| Ok(commit.checkpoint()?));
                last = Instant::now();
                state = lock(&shared);
                if let Err(error) = kept {
                    // The others stop after the layer at hand.
                    state.error.get_or_insert(error);
                }
            }
        }
    });
    shared.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Counts an importing thread until it ends, by a panic too: the caller must not wait for it for ever.
struct Running<'a, 'p> {
    shared: &'a Mutex<Shared<'p>>,
    changed: &'a Condvar,
}

impl Drop for Running<'_, '_> {
    fn drop(&mut self) {
        lock(self.shared).running -= 1;
        self.changed.notify_all();
    }
}

fn next<'p>(shared: &Mutex<Shared<'p>>) -> Option<&'p LayerPlan<'p>> {
    let mut shared = lock(shared);
    if shared.error.is_some() { None } else { shared.queue.pop() }
}

/// A layer all of whose objects are stored.
struct Done {
    stream: ObjectId,
    objects: IngestStats,
    inlined_bytes: u64,
}

fn import_one(
    writer: &Writer,
    source: &dyn Source,
    pool: &StorePool,
    plan: &LayerPlan<'_>,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Done, Error> {
    let kept = source.kept_as(plan.descriptor)?;
    let descriptor = kept.as_ref().unwrap_or(plan.descriptor);
    let digest = Digest::new(descriptor.digest().as_ref())
        .map_err(|error| Error::model(descriptor.digest(), error.into()))?;
    let span = tracing::info_span!("layer", digest = %digest);
    let _entered = span.enter();
    let size = descriptor.size();
    observer.event(&Event::Begin { what: "layer", name: digest.as_str(), total: Some(size) });
    let blob = source.blob(descriptor)?;
    let result = match plan.kind {
        LayerKind::Tar | LayerKind::OpaqueTar => {
            let expected = LayerDigest::DiffId(DiffId::new(plan.key.clone()));
            let mut importer = LayerImporter::new(writer, pool, options.mode);
            if plan.kind == LayerKind::Tar {
                importer = importer.for_image();
            }
            let layer = importer.import(blob, &digest, Some(size), &expected, observer)?;
            warn_of_lie(descriptor, layer.stats.compression, observer);
            Done { stream: layer.stream, objects: layer.objects, inlined_bytes: layer.stats.inline_bytes }
        }
        LayerKind::Blob => store_blob(writer, blob, &digest, size, observer)?,
    };
    observer.event(&Event::Done { name: digest.as_str() });
    Ok(result)
}

fn warn_of_lie(
    descriptor: &Descriptor,
    found: Option<crate::model::media_type::Compression>,
    observer: &dyn Observer,
) {
    let claimed = crate::model::media_type::tar_layer(descriptor.media_type().as_ref());
    if let (Some(claimed), Some(found)) = (claimed, found)
        && claimed != found
    {
        let text = format!("layer {} is {found}, though its media type says {claimed}", descriptor.digest());
        observer.event(&Event::Warning { text: &text });
    }
}

/// Stores a blob that is no tar as one object and a stream that is nothing but it.
fn store_blob(
    writer: &Writer,
    blob: impl Read,
    digest: &Digest,
    size: u64,
    observer: &dyn Observer,
) -> Result<Done, Error> {
    let mut blob =
        VerifyingReader::new(blob, digest, Some(size)).map_err(|fault| Error::blob(digest, fault))?;
    let mut object = writer.object_writer(size)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let got = blob.read(&mut buffer).map_err(|error| Error::blob_io(digest, error))?;
        if got == 0 {
            break;
        }
        object
            .write_all(buffer.get(..got).unwrap_or_default())
            .map_err(|error| Error::source(Step::Write, "an object", error))?;
        observer.event(&Event::Advance { name: digest.as_str(), by: got as u64 });
    }
    let stored = object.finish()?;
    let mut objects = IngestStats::default();
    objects.count(stored.size, stored.new);
    let stream =
        DocumentStream { content_type: ContentType::OCI_BLOB, object: stored.id, size, named_refs: &[] };
    let bytes = stream
        .build(writer.algorithm())
        .map_err(|source| Error::stream(format!("oci-layer-{digest}"), source))?;
    Ok(Done { stream: writer.store_bytes(&bytes)?.id, objects, inlined_bytes: 0 })
}
