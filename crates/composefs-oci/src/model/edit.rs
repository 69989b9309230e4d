//! An image index that gets another entry, and keeps what nobody here understands in it.

use serde_json::{Map, Value, json};

use crate::digest::Digest;

use super::{MANIFEST_MAX, ModelError, media_type};

/// An index on its way from one form to the next.
pub(crate) struct IndexEdit(Map<String, Value>);

impl IndexEdit {
    /// Begins with an index, or with an empty one of OCI's type.
    ///
    /// # Errors
    /// [`ModelError::Json`] for what is no JSON object.
    pub(crate) fn of(old: Option<&[u8]>) -> Result<Self, ModelError> {
        let mut index = match old {
            Some(old) => Self(serde_json::from_slice(old).map_err(json_error)?),
            None => Self(Map::new()),
        };
        index.0.entry("schemaVersion").or_insert(json!(2));
        Ok(if old.is_none() { index.typed() } else { index })
    }

    /// Says of itself that it is an index, if it says nothing yet.
    pub(crate) fn typed(mut self) -> Self {
        self.0.entry("mediaType").or_insert(media_type::OCI_INDEX.into());
        self
    }

    /// Returns its entries.
    ///
    /// # Errors
    /// [`ModelError::Json`] if they are no list.
    pub(crate) fn entries(&mut self) -> Result<&mut Vec<Value>, ModelError> {
        let entries = self.0.entry("manifests").or_insert_with(|| json!([]));
        entries.as_array_mut().ok_or_else(|| json_error(serde::de::Error::custom("manifests is no list")))
    }

    /// Returns its bytes; `what` is its name in the error.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`].
    pub(crate) fn into_bytes(self, what: &'static str) -> Result<Vec<u8>, ModelError> {
        let bytes = Value::Object(self.0).to_string().into_bytes();
        match bytes.len() as u64 {
            size if size > MANIFEST_MAX => Err(ModelError::TooLarge { what, size, max: MANIFEST_MAX }),
            _ => Ok(bytes),
        }
    }
}

/// Makes an entry for a document of so many bytes.
pub(crate) fn entry(media_type: &str, digest: &Digest, size: usize) -> Map<String, Value> {
    let members =
        [("mediaType", json!(media_type)), ("digest", json!(digest.as_str())), ("size", json!(size))];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Says that a document is no index.
pub(crate) fn json_error(source: serde_json::Error) -> ModelError {
    ModelError::Json { what: "image index", source }
}
