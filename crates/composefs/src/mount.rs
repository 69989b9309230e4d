//! Mounting images: EROFS for the names, overlayfs over the object store for the contents.
//!
//! [`MountPlan`] says what will be done and changes nothing; [`MountPlan::apply`] does it. What the running
//! kernel lacks is found by [`probe`] and named in the error, unless there is another way: an image is
//! mounted straight from its file or through a loop device, and layers are named by descriptor, one by one,
//! or in one string. A mount is a root for garbage collection through its [`record`].
//!
//! # Format
//! `docs/formats/repository.md`, sections 4 and 9.

pub mod feature;
pub mod error;
mod context;
pub mod probe;
pub mod idmap;
pub mod options;
pub mod attach;
pub mod overlay;
pub mod record;
pub mod plan;
pub mod unmount;
pub mod measure;

pub use attach::Attachment;
pub use error::{MountError, MountStep};
pub use feature::Feature;
pub use idmap::{IdMap, IdMapError, IdRange};
pub use measure::measure_image;
pub use options::{Access, AttachPolicy, MountOptions, UpperLayer, VerityPolicy};
pub use overlay::{LayerSyntax, OverlayVerity};
pub use plan::{ImageSource, MountPlan, Mounted};
pub use probe::Kernel;
pub use record::MountRecord;
pub use unmount::{Found, Mounter, UnmountWhen, find, unmount};
