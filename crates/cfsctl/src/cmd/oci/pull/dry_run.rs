//! The plan of a pull in words.

use std::fmt::Write as _;

use composefs_oci::pull::{ChildPlan, LayerState, PlannedLayer, PullPlan};

use crate::ui::size::human;

/// One line for each thing there is, and one for what comes in all.
pub(super) fn text(plan: &PullPlan) -> String {
    let mut text = String::new();
    let config = if plan.config_comes() { "comes" } else { "is here" };
    let _ = writeln!(text, "manifest {}", plan.manifest());
    let _ = writeln!(text, "config   {} {config}", plan.config());
    for layer in plan.layers() {
        let _ = writeln!(text, "layer    {}", layer_text(layer));
    }
    for blob in plan.blobs() {
        let _ = writeln!(text, "blob     {}", layer_text(blob));
    }
    if let Some(index) = plan.index() {
        let _ = writeln!(text, "index    {}", index.digest());
        for child in index.children().iter().filter(|child| !child.is_native()) {
            let _ = writeln!(text, "image    {}", child_text(child));
            for layer in child.layers() {
                let _ = writeln!(text, "layer    {}", layer_text(layer));
            }
        }
    }
    let layers = plan.layers_to_come().count();
    let _ = match (plan.is_whole(), layers) {
        (true, _) => writeln!(text, "to come  nothing: all of it is here"),
        (false, 0) if plan.bytes_to_come() == 0 => {
            writeln!(text, "to come  nothing: it is made of what is here")
        }
        (false, 1) => writeln!(text, "to come  1 layer, {} in all", human(plan.bytes_to_come())),
        (false, _) => writeln!(text, "to come  {layers} layers, {} in all", human(plan.bytes_to_come())),
    };
    let space = plan.space();
    if space.needed > 0 {
        let _ =
            write!(text, "space    {} at the least, probably {}", human(space.needed), human(space.likely));
        let _ = match space.available {
            Some(available) => writeln!(text, "; {} are free", human(available)),
            None => writeln!(text),
        };
    }
    text
}

fn layer_text(layer: &PlannedLayer) -> String {
    let descriptor = layer.descriptor();
    let state = match layer.state() {
        LayerState::Here(_) => "is here".to_owned(),
        LayerState::Packed(_) => "is here as it is shipped".to_owned(),
        _ => format!("comes, {}", human(descriptor.size())),
    };
    format!("{} {state}", descriptor.digest())
}

fn child_text(child: &ChildPlan) -> String {
    let state = if child.is_here() { "is here" } else { "comes" };
    match child.platform() {
        Some(platform) => format!("{} for {platform} {state}", child.digest()),
        None => format!("{} {state}", child.digest()),
    }
}
