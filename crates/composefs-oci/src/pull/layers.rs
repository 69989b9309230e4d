//! The layers of a pull: those that are here are kept, the others imported side by side, largest first.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use composefs::{
    digest::ObjectId,
    name::StreamName,
    progress::{Event, Observer},
    repo::{Commit, IngestStats, PoolOptions, Session, StorePool, Writer},
    splitstream::ContentType,
};

use oci_spec::image::Descriptor;

use crate::{
    afresh::once_more,
    decompress::BUFFER,
    digest::{DiffId, Digest, VerifyingReader},
    error::{Error, Step},
    import::{LayerDigest, LayerImporter, SharedFiles, streams::DocumentStream},
    stoppable::Stoppable,
    transport::{Source, digest_of},
};

use super::{
    PullOptions,
    plan::{LayerKind, LayerState, PlannedLayer},
    present,
};

/// After this long, layers that are done are made durable though others are still coming.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// How often somebody looks whether the pull shall stop.
const TICK: Duration = Duration::from_millis(100);

/// The layers of an image, all here.
pub(crate) struct Imported {
    /// The streams' ids in the order of the plan.
    pub(crate) streams: Vec<ObjectId>,
    pub(super) objects: IngestStats,
    pub(super) inlined_bytes: u64,
    /// Those that have no entry yet.
    pub(crate) fresh: Fresh,
}

/// Layers that are stored and have no entry yet.
pub(crate) type Fresh = Vec<(StreamName, ObjectId)>;

/// What the importing threads share.
struct Shared<'p> {
    /// Still to do, the largest last.
    queue: Vec<&'p PlannedLayer>,
    done: BTreeMap<StreamName, ObjectId>,
    fresh: Fresh,
    /// How many were finished.
    finished: usize,
    running: usize,
    objects: IngestStats,
    inlined_bytes: u64,
    error: Option<Error>,
}

/// What all layers of a pull have in common.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) writer: &'a Writer,
    pub(crate) session: &'a Session,
    pub(crate) source: &'a dyn Source,
    pub(crate) options: &'a PullOptions,
    pub(crate) observer: &'a dyn Observer,
}

/// Has every planned layer in the repository. When one fails, those that are whole get their entries, and so do the
/// ones in `fresh`, which came before.
pub(crate) fn import(
    context: &Context<'_>,
    layers: &[PlannedLayer],
    fresh: Fresh,
    commit: &mut Commit<'_>,
) -> Result<Imported, Error> {
    let Context { writer, options, observer, .. } = *context;
    let mut shared = Shared {
        queue: Vec::new(),
        done: BTreeMap::new(),
        fresh,
        finished: 0,
        running: 0,
        objects: IngestStats::default(),
        inlined_bytes: 0,
        error: None,
    };
    for layer in layers {
        if shared.done.contains_key(&layer.name)
            || shared.queue.iter().any(|queued| queued.name == layer.name)
        {
            continue;
        }
        match layer.state {
            LayerState::Here(stream) => {
                skipped(layer, observer);
                shared.done.insert(layer.name.clone(), stream);
            }
            _ => shared.queue.push(layer),
        }
    }
    shared.queue.sort_by_key(|layer| layer.descriptor.size());
    if !shared.queue.is_empty() {
        let pool = StorePool::new(writer, PoolOptions::default().threads(options.jobs))?;
        shared = run(context, &pool, shared, commit);
        drop(pool);
        if let Some(error) = shared.error.take() {
            keep(context, commit, &shared.fresh);
            // Whatever a layer says that was stopped in the middle.
            let stopped = options.cancel.is_cancelled();
            return Err(if stopped { Error::Cancelled { kept: shared.finished } } else { error });
        }
    }
    let streams = layers
        .iter()
        .map(|layer| {
            shared.done.get(&layer.name).copied().ok_or_else(|| Error::Damaged {
                subject: format!("layer {}", layer.key),
                reason: "it was not imported".to_owned(),
            })
        })
        .collect::<Result<_, _>>()?;
    if options.cancel.is_cancelled() {
        keep(context, commit, &shared.fresh);
        return Err(Error::Cancelled { kept: shared.finished });
    }
    Ok(Imported {
        streams,
        objects: shared.objects,
        inlined_bytes: shared.inlined_bytes,
        fresh: shared.fresh,
    })
}

/// Says that a layer is here already.
pub(super) fn skipped(layer: &PlannedLayer, observer: &dyn Observer) {
    observer.event(&Event::Skipped { what: "layer", name: layer.descriptor.digest().as_ref() });
}

/// Gives layers their entries, in the commit.
pub(crate) fn register(commit: &mut Commit<'_>, layers: &[(StreamName, ObjectId)]) {
    for (name, id) in layers {
        commit.stream(name.clone(), *id);
    }
}

/// Gives layers their entries at once, since the pull has failed. The error it failed with is the one to tell.
pub(super) fn keep(context: &Context<'_>, commit: &mut Commit<'_>, layers: &[(StreamName, ObjectId)]) {
    if let Err(error) = checkpoint(context, commit, layers) {
        tracing::warn!(%error, "layers that were imported could not be kept");
    }
}

/// Gives layers their entries, durably, and keeps collectors from them. Those that are not whole any more get none: it
/// is found out in the end.
fn checkpoint(
    context: &Context<'_>,
    commit: &mut Commit<'_>,
    layers: &[(StreamName, ObjectId)],
) -> Result<(), Error> {
    let Context { writer, session, .. } = *context;
    session.with_lock(|| {
        let mut whole = Vec::new();
        for (name, id) in layers {
            if session.releases() == 0 || present::is_whole(writer, id)? {
                commit.stream(name.clone(), *id);
                whole.push(name);
            }
        }
        commit.checkpoint()?;
        Ok(session.keep(whole)?)
    })?
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run<'p>(
    context: &Context<'_>,
    pool: &StorePool,
    shared: Shared<'p>,
    commit: &mut Commit<'_>,
) -> Shared<'p> {
    let options = context.options;
    let workers = options.jobs.clamp(1, shared.queue.len().max(1));
    let shared = Mutex::new(Shared { running: workers, ..shared });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let spawned = std::thread::Builder::new().name("layer".to_owned()).spawn_scoped(scope, || {
                let _running = Running { shared: &shared, changed: &changed };
                while let Some(layer) = next(&shared) {
                    let result = import_one(context, pool, layer);
                    let mut shared = lock(&shared);
                    match result {
                        Ok(done) => {
                            shared.done.insert(layer.name.clone(), done.stream);
                            shared.fresh.push((layer.name.clone(), done.stream));
                            shared.finished += 1;
                            shared.objects.add(&done.objects);
                            shared.inlined_bytes += done.inlined_bytes;
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
        // Layers that are done are made durable from time to time, while others go on; and at once when they are
        // to stop, since that may take a while, or longer than somebody waits.
        let mut last = Instant::now();
        let mut state = lock(&shared);
        while state.running > 0 {
            (state, _) = changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            let stopped = options.cancel.is_cancelled();
            if stopped {
                state.error.get_or_insert(Error::Cancelled { kept: 0 });
            }
            let due = stopped || last.elapsed() >= CHECKPOINT;
            if due && state.running > 0 && !state.fresh.is_empty() {
                let fresh = std::mem::take(&mut state.fresh);
                drop(state);
                let kept = checkpoint(context, commit, &fresh);
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

fn next<'p>(shared: &Mutex<Shared<'p>>) -> Option<&'p PlannedLayer> {
    let mut shared = lock(shared);
    if shared.error.is_some() { None } else { shared.queue.pop() }
}

/// A layer all of whose objects are stored.
struct Done {
    stream: ObjectId,
    objects: IngestStats,
    inlined_bytes: u64,
}

fn import_one(context: &Context<'_>, pool: &StorePool, layer: &PlannedLayer) -> Result<Done, Error> {
    let Context { writer, source, options, observer, .. } = *context;
    let descriptor = &layer.descriptor;
    let digest = digest_of(descriptor)?;
    let span = tracing::info_span!("layer", digest = %digest);
    let _entered = span.enter();
    let files = SharedFiles::new(writer, options.sharing);
    let importing = Importing { writer, pool, layer, digest: &digest, options, files: &files, observer };
    if let LayerState::Packed(object) = layer.state {
        let unpacked = writer
            .open_object(&object)
            .map_err(Error::from)
            .and_then(|file| importing.run("unpack", &mut File::from(file)));
        match unpacked {
            Err(error) if !options.cancel.is_cancelled() => {
                let text = format!("the copy of layer {digest} in the repository is of no use: {error}");
                observer.event(&Event::Warning { text: &text });
            }
            result => return result,
        }
    }
    once_more(source, &digest, observer, || {
        importing.run("layer", &mut source.blob_of_files(descriptor, &files)?)
    })
}

/// A layer on its way in.
struct Importing<'a> {
    writer: &'a Writer,
    pool: &'a StorePool,
    layer: &'a PlannedLayer,
    digest: &'a Digest,
    options: &'a PullOptions,
    files: &'a SharedFiles<'a>,
    observer: &'a dyn Observer,
}

impl Importing<'_> {
    fn run(&self, what: &'static str, blob: &mut (dyn Read + Send)) -> Result<Done, Error> {
        let Self { writer, layer, digest, options, observer, .. } = *self;
        let size = layer.descriptor.size();
        // Those of an attempt that went wrong.
        self.files.forget();
        observer.event(&Event::Begin { what, name: digest.as_str(), total: Some(size) });
        let blob = Stoppable::new(blob, &options.cancel);
        let result = match layer.kind {
            LayerKind::Tar | LayerKind::OpaqueTar => {
                let expected = LayerDigest::DiffId(DiffId::new(layer.key.clone()));
                let mut importer = LayerImporter::new(writer, self.pool, options.mode).shared(self.files);
                if layer.kind == LayerKind::Tar {
                    importer = importer.for_image();
                }
                let imported = importer.import(blob, digest, Some(size), &expected, observer)?;
                warn_of_lie(&layer.descriptor, imported.stats.compression, observer);
                Done {
                    stream: imported.stream,
                    objects: imported.objects,
                    inlined_bytes: imported.stats.inline_bytes,
                }
            }
            LayerKind::Blob | LayerKind::Packed => {
                store_blob(writer, blob, digest, size, &layer.name, observer)?
            }
        };
        observer.event(&Event::Done { name: digest.as_str() });
        Ok(result)
    }
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
    name: &StreamName,
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
        object.append(buffer.get(..got).unwrap_or_default())?;
        observer.event(&Event::Advance { name: digest.as_str(), by: got as u64 });
    }
    let stored = object.finish()?;
    let mut objects = IngestStats::default();
    objects.count(stored.size, stored.new);
    let stream =
        DocumentStream { content_type: ContentType::OCI_BLOB, object: stored.id, size, named_refs: &[] };
    Ok(Done { stream: stream.store(writer, name)?, objects, inlined_bytes: 0 })
}
