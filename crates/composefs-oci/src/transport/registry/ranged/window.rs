//! The pieces of a blob that are on their way or wait for the reader: in order, without gaps, bounded.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes that may wait for the reader of a blob that is not split.
pub(super) const SINGLE: u64 = 4 << 20;

/// A range of the blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    /// The byte behind the last one.
    pub(super) end: u64,
}

/// A range that was taken, and what has come of it.
#[derive(Debug)]
struct Piece {
    span: Span,
    /// The next byte to come.
    at: u64,
    bytes: VecDeque<Bytes>,
    /// A lane works on it.
    taken: bool,
    /// Nothing more will come.
    done: bool,
}

/// The part of a blob between what was read and what is asked for.
#[derive(Debug)]
pub(super) struct Window {
    /// What the blob's descriptor says; less once it proved shorter.
    size: u64,
    limit: u64,
    read: u64,
    /// Where the next piece begins.
    next: u64,
    /// A piece was taken.
    begun: bool,
    pieces: VecDeque<Piece>,
}

/// What became of bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// They are in the window.
    Taken,
    /// There is no such piece any more.
    Gone,
}

impl Window {
    pub(super) const fn new(size: u64, limit: u64) -> Self {
        Self { size, limit, read: 0, next: 0, begun: false, pieces: VecDeque::new() }
    }

    /// Returns a piece for a lane to work on: one that was given back, else the next one of at most `length` bytes.
    /// `None` if there is none, or no room for it.
    pub(super) fn take(&mut self, length: u64) -> Option<Span> {
        if let Some(piece) = self.pieces.iter_mut().find(|piece| !piece.taken && !piece.done) {
            piece.taken = true;
            return Some(piece.span);
        }
        // There is one piece even of an empty blob, so that somebody looks whether it is.
        let more = self.next < self.size || !self.begun;
        if !more || self.next >= self.read.saturating_add(self.limit) {
            return None;
        }
        let span = Span { start: self.next, end: self.next.saturating_add(length).min(self.size) };
        (self.next, self.begun) = (span.end, true);
        self.pieces.push_back(Piece {
            span,
            at: span.start,
            bytes: VecDeque::new(),
            taken: true,
            done: false,
        });
        Some(span)
    }

    /// Tells whether [`Window::take`] will give nothing more, whatever is read.
    pub(super) fn is_all_taken(&self) -> bool {
        self.next >= self.size && self.pieces.iter().all(|piece| piece.taken || piece.done)
    }

    fn find(&mut self, start: u64) -> Option<&mut Piece> {
        self.pieces.iter_mut().find(|piece| piece.span.start == start)
    }

    /// Returns the next byte that is missing of a piece, and the end of it.
    pub(super) fn missing(&mut self, start: u64) -> Option<Span> {
        self.find(start).map(|piece| Span { start: piece.at, end: piece.span.end })
    }

    /// Tells whether it is this piece that the reader waits for.
    pub(super) fn is_front(&self, start: u64) -> bool {
        self.pieces.front().is_some_and(|piece| piece.span.start == start)
    }

    /// Tells whether bytes at this offset have to wait until more is read.
    pub(super) const fn is_beyond(&self, at: u64) -> bool {
        at >= self.read.saturating_add(self.limit)
    }

    /// Lets more bytes wait for the reader.
    pub(super) fn widen(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Tells whether so much was read since `mark` that lanes that wait for room should be woken; they need not be
    /// for every buffer.
    pub(super) const fn has_room_since(&self, mark: u64) -> bool {
        self.read.saturating_sub(mark) >= self.limit / 4
    }

    /// Returns how many bytes were read.
    pub(super) const fn read_bytes(&self) -> u64 {
        self.read
    }

    /// Adds bytes to the end of a piece.
    pub(super) fn push(&mut self, start: u64, bytes: Bytes) -> Pushed {
        let Some(piece) = self.find(start).filter(|piece| !piece.done) else { return Pushed::Gone };
        piece.at = piece.at.saturating_add(bytes.len() as u64);
        piece.bytes.push_back(bytes);
        Pushed::Taken
    }

    /// Says that nothing more will come of a piece.
    pub(super) fn finish(&mut self, start: u64) {
        if let Some(piece) = self.find(start) {
            piece.done = true;
        }
        self.forget_read();
    }

    /// Says that the blob ends where this piece does so far, whatever its descriptor says.
    pub(super) fn end_at(&mut self, start: u64) {
        if let Some(at) = self.find(start).map(|piece| piece.at) {
            self.pieces.retain(|piece| piece.span.start <= start);
            (self.size, self.next) = (at, at);
        }
        self.finish(start);
    }

    /// Gives a piece back, for another lane.
    pub(super) fn give_back(&mut self, start: u64) {
        if let Some(piece) = self.find(start) {
            piece.taken = false;
        }
    }

    /// Makes all that is behind a piece part of it: one connection brings everything from here on.
    pub(super) fn take_all_behind(&mut self, start: u64) {
        self.pieces.retain(|piece| piece.span.start <= start);
        let size = self.size;
        if let Some(piece) = self.find(start) {
            piece.span.end = size;
            self.next = size;
        }
    }

    /// Moves bytes to the reader, at most about a quarter of what may wait for it; false if there are none.
    pub(super) fn read(&mut self, to: &mut VecDeque<Bytes>) -> bool {
        let limit = self.limit / 4;
        let Some(piece) = self.pieces.front_mut() else { return false };
        let mut count: u64 = 0;
        while count <= limit
            && let Some(bytes) = piece.bytes.pop_front()
        {
            count = count.saturating_add(bytes.len() as u64);
            to.push_back(bytes);
        }
        self.read = self.read.saturating_add(count);
        self.forget_read();
        count > 0
    }

    /// Drops pieces of which nothing is left.
    fn forget_read(&mut self) {
        while self.pieces.front().is_some_and(|piece| piece.done && piece.bytes.is_empty()) {
            self.pieces.pop_front();
        }
    }

    /// Tells whether everything has come and was read.
    pub(super) fn is_finished(&self) -> bool {
        self.pieces.is_empty() && self.next >= self.size && self.read >= self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: usize) -> Bytes {
        Bytes::from(vec![1; count])
    }

    fn read(window: &mut Window) -> usize {
        let mut to = VecDeque::new();
        while window.read(&mut to) {}
        to.iter().map(Bytes::len).sum()
    }

    #[test]
    fn pieces_come_in_order_and_within_the_limit() {
        let mut window = Window::new(100, 40);
        let spans = [window.take(30), window.take(30)].map(Option::unwrap);
        assert_eq!(spans, [Span { start: 0, end: 30 }, Span { start: 30, end: 60 }]);
        assert_eq!(window.take(30), None, "there is no room");
        assert_eq!(window.push(30, bytes(30)), Pushed::Taken);
        window.finish(30);
        assert_eq!(read(&mut window), 0, "the first piece is not here");
        assert_eq!(window.push(0, bytes(30)), Pushed::Taken);
        window.finish(0);
        assert_eq!(read(&mut window), 60);
        assert_eq!(window.take(u64::MAX), Some(Span { start: 60, end: 100 }));
        assert!(window.is_all_taken() && !window.is_finished());
    }

    #[test]
    fn a_piece_that_was_given_back_is_taken_first() {
        let mut window = Window::new(100, 1000);
        window.take(30).unwrap();
        window.take(30).unwrap();
        window.push(0, bytes(10));
        window.give_back(0);
        assert_eq!(window.take(30), Some(Span { start: 0, end: 30 }));
        assert_eq!(window.missing(0), Some(Span { start: 10, end: 30 }));
    }

    #[test]
    fn one_piece_can_take_the_rest() {
        let mut window = Window::new(100, 1000);
        window.take(30).unwrap();
        window.take(30).unwrap();
        window.push(30, bytes(5));
        window.take_all_behind(0);
        assert_eq!(window.push(30, bytes(5)), Pushed::Gone);
        assert_eq!(window.missing(0), Some(Span { start: 0, end: 100 }));
        window.push(0, bytes(70));
        window.end_at(0);
        assert_eq!(read(&mut window), 70);
        assert!(window.is_finished(), "it was shorter than said");
    }

    #[test]
    fn an_empty_blob_has_one_piece() {
        let mut window = Window::new(0, 10);
        assert_eq!(window.take(10), Some(Span { start: 0, end: 0 }));
        window.finish(0);
        assert_eq!(window.take(10), None);
        assert!(window.is_finished());
    }
}
