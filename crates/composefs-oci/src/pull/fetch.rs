//! Having all layers here at one time: they come while the lock is given up, and collectors may come, too.
//!
//! A medium that waits is read without the repository's lock. Once the lock is held again, everything the image will
//! name is looked for: whatever collector was here, and whether it came to its end. What went is fetched again.

use std::collections::{BTreeMap, BTreeSet};

use composefs::{
    digest::ObjectId,
    name::StreamName,
    progress::Event,
    repo::{Commit, IngestStats, Writer},
};

use crate::{error::Error, stored::StoredImage};

use super::{
    kept,
    layers::{self, Context, Fresh},
    plan::{LayerState, PlannedLayer, PullPlan},
    platforms, present,
};

/// How often layers are fetched while others collect them again.
const ROUNDS: u32 = 8;

/// All layers of a plan, here as long as the lock is held.
#[derive(Default)]
pub(super) struct Fetched {
    /// The streams of the image's layers, in order; none if the image is whole.
    pub(super) streams: Vec<ObjectId>,
    /// The streams of layers as they are shipped, for other platforms or to be kept.
    pub(super) packed: BTreeMap<StreamName, ObjectId>,
    pub(super) objects: IngestStats,
    pub(super) inlined_bytes: u64,
    /// Those that have no entry yet.
    pub(super) fresh: Fresh,
}

/// Has every layer of the plan here, and the lock.
pub(super) fn fetch(
    context: &Context<'_>,
    plan: &mut PullPlan,
    commit: &mut Commit<'_>,
) -> Result<Fetched, Error> {
    let mut fetched = Fetched::default();
    for round in 1..=ROUNDS {
        if context.source.waits() && plan.layers_to_have().any(|layer| !layer.is_here()) {
            context.session.without_lock(|| once(context, plan, &mut fetched, commit))??;
        } else {
            once(context, plan, &mut fetched, commit)?;
        }
        if context.session.releases() == plan.looked_at {
            return Ok(fetched);
        }
        plan.looked_at = context.session.releases();
        if look_again(context, plan, &mut fetched)? {
            return Ok(fetched);
        }
        tracing::debug!(round, "others collected what had come");
        let text = "others have collected garbage, and some of what was here; it is fetched again";
        context.observer.event(&Event::Warning { text });
    }
    layers::keep(context, commit, &fetched.fresh);
    Err(Error::Collected { rounds: ROUNDS })
}

/// Has every layer here that the plan says is not.
fn once(
    context: &Context<'_>,
    plan: &mut PullPlan,
    fetched: &mut Fetched,
    commit: &mut Commit<'_>,
) -> Result<(), Error> {
    let planned: Vec<PlannedLayer> = plan.packed_layers().cloned().collect();
    if !planned.is_empty() {
        let imported = layers::import(context, &planned, std::mem::take(&mut fetched.fresh), commit)?;
        let packed = platforms::packed(context.writer, &planned, &imported.streams);
        fetched.packed =
            planned.iter().map(|layer| layer.name.clone()).zip(imported.streams.iter().copied()).collect();
        fetched.fresh = imported.fresh;
        plan.unpack_from(&packed);
    }
    if plan.whole.is_none() {
        let imported = layers::import(context, &plan.layers, std::mem::take(&mut fetched.fresh), commit)?;
        fetched.streams = imported.streams;
        fetched.objects.add(&imported.objects);
        fetched.inlined_bytes += imported.inlined_bytes;
        fetched.fresh = imported.fresh;
    }
    Ok(())
}

/// Looks whether everything is still here; the plan says what is to come if not.
fn look_again(context: &Context<'_>, plan: &mut PullPlan, fetched: &mut Fetched) -> Result<bool, Error> {
    let Context { writer, source, options, observer, session, .. } = *context;
    let mut all_here = true;
    // Most of what came is a layer of the plan, and looking at one is looking at all its objects.
    let mut whole = BTreeSet::new();
    let native = fetched.streams.iter().map(|stream| Some(*stream)).chain(std::iter::repeat(None));
    let streams: Vec<ObjectId> =
        plan.layers.iter().zip(native.clone()).filter_map(|(layer, came)| layer.found(came)).collect();
    if present::are_whole(writer, &streams)? {
        whole.extend(streams);
    }
    for (layer, stream) in plan.layers.iter_mut().zip(native) {
        all_here &= layer.settle(writer, stream, &mut whole)?;
    }
    for blob in &mut plan.blobs {
        all_here &= blob.settle(writer, fetched.packed.get(&blob.name).copied(), &mut whole)?;
    }
    if let Some(index) = &mut plan.index {
        for layer in index.layers_mut() {
            let stream = fetched.packed.get(&layer.name).copied();
            all_here &= layer.settle(writer, stream, &mut whole)?;
        }
        if !index.still_holds(writer)? {
            plan.index = platforms::plan(
                Some(writer),
                &super::asked::Asked { source, session: Some(session) },
                plan.manifest.digest(),
                observer,
            )?;
            all_here = false;
        }
    }
    if plan.whole.is_some() {
        let image = StoredImage::open(writer, plan.manifest.digest()).ok();
        plan.whole = match image {
            Some(image) if kept::are_named(writer, &image, &plan.blobs)? => {
                present::whole(writer, &image, &plan.layers, options)?
            }
            _ => None,
        };
        all_here &= plan.whole.is_some();
    }
    // What went gets no entry; what comes again is named again.
    let mut fresh = Fresh::new();
    for (name, id) in fetched.fresh.drain(..) {
        if whole.contains(&id) || present::is_whole(writer, &id)? {
            fresh.push((name, id));
        }
    }
    fetched.fresh = fresh;
    Ok(all_here)
}

impl PlannedLayer {
    const fn is_here(&self) -> bool {
        matches!(self.state, LayerState::Here(_))
    }

    /// Returns the stream that the layer should be here as: the one that came, or the one found before.
    const fn found(&self, came: Option<ObjectId>) -> Option<ObjectId> {
        match (came, self.state) {
            (None, LayerState::Here(found)) => Some(found),
            (came, _) => came,
        }
    }

    /// Makes sure that the layer is here: as the stream that came, or as it was found before. Tells whether it is.
    fn settle(
        &mut self,
        writer: &Writer,
        came: Option<ObjectId>,
        whole: &mut BTreeSet<ObjectId>,
    ) -> Result<bool, Error> {
        match self.found(came) {
            Some(stream) if whole.contains(&stream) || present::is_whole(writer, &stream)? => {
                whole.insert(stream);
                self.state = LayerState::Here(stream);
            }
            _ => self.look_again(writer)?,
        }
        Ok(self.is_here())
    }
}

impl PullPlan {
    /// The layers that must be here before anything is made of them.
    fn layers_to_have(&self) -> impl Iterator<Item = &PlannedLayer> {
        let native = if self.whole.is_some() { &[][..] } else { &self.layers };
        native.iter().chain(self.packed_layers())
    }
}
