//! From a member's header to its contents: the entry it stands for, and the map of a sparse one.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{BLOCK, Parser, Phase, Sparse, fits};
use crate::entry::{self, Content, EntryError, EntryKind};
use crate::error::Error;
use crate::event::{INLINE_MAX, Member};
use crate::gnu;
use crate::header::{Block, Format, Header, padding};
use crate::limits::Mode;
use crate::pax::SparseForm;
use crate::sparse::{MapLines, Piece, SegmentList, SparseError, SparseMap};

impl Parser {
    pub(super) fn begin_member(&mut self, header: Header<'_>, offset: u64) -> Result<(), Error> {
        let mut extensions = std::mem::take(&mut self.extensions);
        self.headers = 0;
        self.extension_bytes = 0;
        let type_flag = header.type_flag();
        let path = entry::path(header, &mut extensions);
        let size = extensions.pax.as_ref().and_then(|pax| pax.size).map_or_else(|| header.size(), Ok);
        let size = match size.and_then(fits) {
            Ok(size) => size,
            Err(source) => return Err(Error::Size { offset, path, source }),
        };
        self.path.clear();
        self.path.extend_from_slice(&path);

        let segments = self.options.limits.sparse_segments;
        let is_gnu_sparse = type_flag == b'S' && header.format() == Format::Gnu;
        let form = match extensions.pax.as_deref_mut() {
            Some(pax) if entry::is_file(type_flag) => pax.take_sparse(segments),
            _ => None,
        };
        let is_sparse = is_gnu_sparse || form.is_some();
        if is_sparse && self.options.mode == Mode::Strict {
            return Err(Error::Sparse { offset, path });
        }
        let start = self.start.take().unwrap_or(offset);
        let entry = entry::resolve(header, path, extensions, size, is_sparse, &self.options.limits);
        self.member = Some(Member { offset: start, type_flag, size, external: None, entry });
        let sparse = |list, size| Some(Box::new(Sparse { list, lines: MapLines::default(), size }));
        match form {
            Some((SparseForm::Lines, real)) => {
                self.sparse = sparse(SegmentList::new(segments), real);
                self.phase = Phase::SparseLines { left: size };
            }
            Some((SparseForm::Listed(list), real)) => {
                self.sparse = sparse(list, real);
                self.sparse_data(size, None);
            }
            None if is_gnu_sparse => {
                let mut list = SegmentList::new(segments);
                let more = gnu::header_slots(header.0, &mut list);
                self.sparse = sparse(list, gnu::real_size(header.0).ok());
                match more {
                    true => self.phase = Phase::SparseSlots,
                    false => self.sparse_data(size, None),
                }
            }
            None => self.data(size, entry::is_file(type_flag)),
        }
        Ok(())
    }

    pub(super) fn sparse_slots(&mut self, block: &Block) -> Result<(), Error> {
        let more = self.sparse.as_mut().is_some_and(|sparse| gnu::extension_slots(block, &mut sparse.list));
        if !more {
            let size = self.member.as_ref().map_or(0, |member| member.size);
            self.sparse_data(size, None);
        }
        Ok(())
    }

    pub(super) fn sparse_lines(&mut self, block: &Block) -> Result<(), Error> {
        let (Phase::SparseLines { left }, Some(sparse)) = (self.phase, &mut self.sparse) else {
            return Ok(());
        };
        let left = left.saturating_sub(BLOCK);
        match sparse.lines.push(block, &mut sparse.list) {
            Ok(false) => self.phase = Phase::SparseLines { left },
            Ok(true) => self.sparse_data(left, None),
            Err(fault) => self.sparse_data(left, Some(fault)),
        }
        Ok(())
    }

    /// The map is complete, or broken; `stored` bytes of data follow. Where a broken map leaves open where the
    /// data begin, all the rest stays inline.
    pub(super) fn sparse_data(&mut self, stored: u64, broken: Option<SparseError>) {
        let Some(sparse) = self.sparse.take() else { return };
        let limit = self.options.limits.sparse_size;
        let map = match (broken.or(sparse.list.fault()), sparse.size) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err(SparseError::NoSize),
            (None, Some(size)) if size > limit => Err(SparseError::TooLarge { size }),
            (None, Some(size)) => sparse.list.finish(size, stored),
        };
        if let Some(Member { entry, .. }) = &mut self.member
            && let Ok(resolved) = entry
        {
            match map {
                Ok(map) => set_map(&mut resolved.kind, map),
                Err(fault) => {
                    let path = std::mem::take(&mut resolved.path);
                    *entry = Err(EntryError { path, fault: fault.into() });
                }
            }
        }
        self.data(stored, broken.is_none());
    }

    /// The headers are complete; `size` bytes follow, which a file has as its contents.
    fn data(&mut self, size: u64, is_contents: bool) {
        self.contents.clear();
        if is_contents && size > INLINE_MAX {
            if let Some(member) = &mut self.member {
                member.external = Some(size);
            }
            self.phase = Phase::Begin { size };
        } else {
            self.phase = Phase::Body { data: size, padding: padding(size) };
        }
    }

    pub(super) fn end_body(&mut self) -> Option<Member> {
        let mut member = self.member.take()?;
        if let Ok(entry) = &mut member.entry
            && let EntryKind::Regular { size, content } = &mut entry.kind
        {
            let stored = self.contents.as_slice();
            *content = match std::mem::replace(content, Content::External) {
                Content::Sparse(map) if *size <= INLINE_MAX => Content::Inline(expand(&map, stored)),
                Content::Sparse(mut map) => {
                    map.set_inline_data(stored.to_vec());
                    Content::Sparse(map)
                }
                _ => Content::Inline(stored.to_vec()),
            };
        }
        Some(member)
    }
}

/// A map without holes describes an ordinary file.
fn set_map(kind: &mut EntryKind, map: SparseMap) {
    if let EntryKind::Regular { size, content } = kind {
        *size = map.size();
        if !map.is_whole() {
            *content = Content::Sparse(map);
        }
    }
}

/// The whole file of a map, for files of at most 64 bytes.
fn expand(map: &SparseMap, mut stored: &[u8]) -> Vec<u8> {
    let (mut file, mut expander) = (Vec::new(), map.clone().into_expander());
    while let Some(piece) = expander.next(&mut stored) {
        match piece {
            Piece::Hole(len) => file.extend(std::iter::repeat_n(0, usize::try_from(len).unwrap_or(0))),
            Piece::Data(data) => file.extend_from_slice(data),
        }
    }
    file
}
