//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 §14.6, §15.3.7.2). Pure.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::{body::Piece, entity::Head};
use crate::model::Sha256Digest;

/// What one more part costs besides its bytes, about. Gaps and savings below that are none.
pub(super) const OVERHEAD: u64 = 80;

/// A body of parts.
#[derive(Debug)]
pub(super) struct Multipart {
    boundary: String,
    /// What precedes each part's bytes, and which these are.
    parts: Vec<(String, Range<u64>)>,
    end: String,
}

impl Multipart {
    /// These parts of a file of `total` bytes.
    ///
    /// QUIRK: laid out as nginx does it. zchunk takes the boundary for the rest of its header's line and puts it into a regular
    /// expression: no quotes, no parameter behind it, letters and digits only.
    pub fn new(parts: &[Range<u64>], total: u64, head: &Head, media_type: &str) -> Self {
        // No file has the digest of its own version in it but by a chance of 2⁻¹²⁸.
        let version = format!("{:?} {:?} {total} {parts:?}", head.etag, head.last_modified);
        let digest = Sha256Digest(Sha256::digest(version).into()).to_string();
        let boundary = digest[..32].to_owned();
        let part = |range: &Range<u64>| {
            let (first, last) = (range.start, range.end - 1);
            let range_header = format!("Content-Range: bytes {first}-{last}/{total}");
            (format!("\r\n--{boundary}\r\nContent-Type: {media_type}\r\n{range_header}\r\n\r\n"), range.clone())
        };
        let (parts, end) = (parts.iter().map(part).collect(), format!("\r\n--{boundary}--\r\n"));
        Self { boundary, parts, end }
    }

    /// `Content-Type` of all of it.
    pub fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(text, range)| text.len() as u64 + (range.end - range.start));
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// What it is made of.
    pub fn pieces(self) -> impl Iterator<Item = Piece> + Send {
        let parts = self.parts.into_iter().flat_map(|(text, range)| [Piece::Text(text.into()), Piece::Part(range)]);
        parts.chain([Piece::Text(self.end.into())])
    }
}

/// Ranges that overlap or touch as one, at the place of the first of them. The others stay in the order they were asked in.
pub(super) fn coalesced(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = Vec::new();
    for mut range in ranges {
        // One that joins two is none of their neighbours before it has grown.
        let mut place = all.len();
        while let Some(found) = all.iter().position(|other| other.start <= range.end && range.start <= other.end) {
            let other = all.remove(found);
            range = range.start.min(other.start)..range.end.max(other.end);
            place = place.min(found);
        }
        all.insert(place.min(all.len()), range);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body as a client sees it.
    fn body(multipart: Multipart, file: &[u8]) -> Vec<u8> {
        let bytes = |piece| match piece {
            Piece::Text(text) => text.to_vec(),
            Piece::Part(range) => file[range.start as usize..range.end as usize].to_vec(),
            Piece::Whole => panic!("a part is not all of it"),
        };
        multipart.pieces().flat_map(bytes).collect()
    }

    /// The parts of a body as RFC 2046 §5.1.1 has them, found by nothing but the delimiter.
    fn parse(body: &[u8], media_type: &str) -> Vec<(String, Vec<u8>)> {
        let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("its type");
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let places: Vec<_> =
            (0..=body.len() - delimiter.len()).filter(|&at| body[at..].starts_with(&delimiter)).collect();
        let after = |at: usize| &body[at + delimiter.len()..];
        let (last, parts) = places.split_last().expect("an end");
        assert_eq!((places[0], after(*last)), (0, &b"--\r\n"[..]));
        let part = |(at, next): (&usize, &usize)| {
            let part = &body[at + delimiter.len()..*next];
            let blank = part.windows(4).position(|four| four == b"\r\n\r\n").expect("a blank line");
            let head = std::str::from_utf8(&part[..blank]).expect("text").trim_start().to_owned();
            (head, part[blank + 4..].to_vec())
        };
        parts.iter().zip(&places[1..]).map(part).collect()
    }

    proptest! {
        #[test]
        fn whoever_takes_it_apart_has_every_byte_that_was_asked_for_once(
            asked in prop::collection::vec((0u64..500, 1u64..60), 1..20),
            file in prop::collection::vec(any::<u8>(), 560),
        ) {
            let ranges = asked.iter().map(|(start, length)| *start..start + length);
            let parts = coalesced(ranges.clone());
            let multipart = Multipart::new(&parts, 560, &Head::default(), "text/x");
            let (length, media_type) = (multipart.length(), multipart.media_type());
            let body = body(multipart, &file);
            prop_assert_eq!(body.len() as u64, length);
            let mut seen = vec![0; 560];
            for (head, bytes) in parse(&body, &media_type) {
                let range = head.strip_prefix("Content-Type: text/x\r\nContent-Range: bytes ").expect("two headers");
                let (first, last) = range.strip_suffix("/560").expect("of 560").split_once('-').expect("a range");
                let range = first.parse::<usize>().expect("a number")..last.parse::<usize>().expect("a number") + 1;
                prop_assert_eq!(&bytes, &file[range.clone()]);
                range.for_each(|at| seen[at] += 1);
            }
            for (at, times) in seen.into_iter().enumerate() {
                prop_assert_eq!(times, i32::from(ranges.clone().any(|range| range.contains(&(at as u64)))), "byte {}", at);
            }
        }
    }

    #[test]
    fn ranges_become_one_where_nothing_lies_between_and_keep_their_order() {
        #[allow(clippy::single_range_in_vec_init)]
        for (asked, expected) in [
            (vec![90..100, 0..10], vec![90..100, 0..10]),
            (vec![0..10, 10..20], vec![0..20]),
            (vec![0..10, 50..60, 5..20], vec![0..20, 50..60]),
            (vec![50..60, 0..10, 30..40, 10..50], vec![0..60]),
            (vec![7..8, 0..2, 4..6, 1..5], vec![7..8, 0..6]),
            (vec![0..9, 0..9], vec![0..9]),
        ] {
            assert_eq!(coalesced(asked.clone()), expected, "{asked:?}");
        }
    }
}
