//! The one filter of extended attributes, for trees from layers and from directories alike.

use super::{XattrMode, inode::Xattrs};

/// Drops the attributes that `mode` does not keep.
pub fn filter(xattrs: &mut Xattrs, mode: XattrMode) {
    xattrs.retain(|name, _| match mode {
        XattrMode::AllowlistOnly => name == b"security.capability",
        XattrMode::KeepUserXattrs => name == b"security.capability" || name.starts_with(b"user."),
        XattrMode::KeepAll => true,
    });
}
