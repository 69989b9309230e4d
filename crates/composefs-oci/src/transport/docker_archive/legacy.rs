//! Images of Docker before 1.10: a chain of layers, each with a config of its own and the name of its parent.
//!
//! The topmost layer's config becomes the image's, with the layers' digests and history added, as Docker did when it
//! took such an archive.

use std::{collections::HashSet, io::Read};

use serde_json::{Map, Value, json};

use crate::{
    decompress::BUFFER,
    digest::DigestHasher,
    error::{Error, Step},
    model::{CONFIG_MAX, LAYERS_MAX, ModelError},
};

/// The most bytes of all configs of an image.
const CONFIGS_MAX: u64 = 4 * CONFIG_MAX;
/// What an old config has about the layer and not the image.
const OF_THE_LAYER: [&str; 8] =
    ["id", "parent", "Size", "parent_id", "layer_id", "throwaway", "container", "rootfs"];

/// Returns the config of the image below whose topmost layer is `top`, and the members of its layers, lowest first.
pub(super) fn image<'a>(
    top: &str,
    read: &dyn Fn(&str, u64) -> Result<Vec<u8>, Error>,
    layer: &dyn Fn(&str) -> Result<Box<dyn Read + Send + 'a>, Error>,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let mut chain: Vec<(String, Value)> = Vec::new();
    let mut image = None;
    let mut seen = HashSet::new();
    let mut left = CONFIGS_MAX;
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        let name = format!("{id}/json");
        if !seen.insert(id.clone()) || chain.len() >= LAYERS_MAX {
            return Err(Error::model(name, ModelError::TooManyLayers(chain.len())));
        }
        let bytes = read(&name, CONFIG_MAX.min(left))?;
        left = left.saturating_sub(bytes.len() as u64);
        let config: Map<String, Value> = serde_json::from_slice(&bytes)
            .map_err(|source| Error::model(&name, ModelError::Json { what: "image config", source }))?;
        next = config.get("parent").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        chain.push((id, history(&config)));
        image.get_or_insert(config);
    }
    chain.reverse();
    let layers: Vec<String> = chain.iter().map(|(id, _)| format!("{id}/layer.tar")).collect();
    let mut diff_ids = Vec::with_capacity(layers.len());
    for name in &layers {
        diff_ids.push(digest(name, layer(name)?)?);
    }
    let mut config = image.unwrap_or_default();
    config.retain(|key, _| !OF_THE_LAYER.contains(&key.as_str()));
    config.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    config.insert("history".to_owned(), chain.into_iter().map(|(_, history)| history).collect());
    Ok((Value::Object(config).to_string().into_bytes(), layers))
}

/// Returns what the history says of a layer.
fn history(config: &Map<String, Value>) -> Value {
    let mut history = Map::new();
    for key in ["created", "author", "comment"] {
        if let Some(value) =
            config.get(key).filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        {
            history.insert(key.to_owned(), value.clone());
        }
    }
    let command =
        config.get("container_config").and_then(|config| config.get("Cmd")).and_then(Value::as_array);
    if let Some(command) = command {
        let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        history.insert("created_by".to_owned(), words.join(" ").into());
    }
    Value::Object(history)
}

/// Hashes a layer.
fn digest(name: &str, mut layer: impl Read) -> Result<String, Error> {
    let mut hasher = DigestHasher::sha256();
    let mut buffer = vec![0; BUFFER];
    loop {
        let got = layer.read(&mut buffer).map_err(|source| Error::source(Step::ReadSource, name, source))?;
        if got == 0 {
            return Ok(hasher.finish().to_string());
        }
        hasher.update(buffer.get(..got).unwrap_or_default());
    }
}
