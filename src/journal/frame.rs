//! The bytes of a segment: its header, and frames.

use super::{Record, Sequence};

/// The bytes of the header of a segment.
pub(super) const HEADER_BYTES: usize = 24;

/// The bytes of a frame before those of its record.
pub(super) const FRAME_BYTES: usize = 28;

/// The format that is written and read.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"UCJOURNL";

/// The frame is not the last of its group.
const CONTINUES: u8 = 1;

/// What is wrong with the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Unreadable,
    Version(u32),
}

/// The header of a segment whose first record is `first`.
pub(super) fn header(first: Sequence) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The first record of the segment that begins with `bytes`.
pub(super) fn first_of(bytes: &[u8]) -> Result<Sequence, HeaderError> {
    let header = bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(&MAGIC));
    let header = header.ok_or(HeaderError::Unreadable)?;
    let checksum = number(header, 20, 4).unwrap_or_default() as u32;
    if crc32fast::hash(&header[..20]) != checksum {
        return Err(HeaderError::Unreadable);
    }
    match number(header, 8, 4).unwrap_or_default() as u32 {
        VERSION => number(header, 12, 8).ok_or(HeaderError::Unreadable),
        other => Err(HeaderError::Version(other)),
    }
}

/// A frame that is whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub sequence: Sequence,
    pub is_last_of_group: bool,
    pub kind: u8,
    pub bytes: &'a [u8],
    /// The place behind it.
    pub end: usize,
}

/// Adds the frame of `record` to `buffer`; all records up to `durable` are durable already.
pub(super) fn put(
    buffer: &mut Vec<u8>,
    record: &Record,
    sequence: Sequence,
    durable: Sequence,
    is_last: bool,
) {
    let begin = buffer.len();
    buffer.extend([0; 4]);
    buffer.extend((record.bytes.len() as u32).to_le_bytes());
    buffer.extend(sequence.to_le_bytes());
    buffer.extend(durable.to_le_bytes());
    buffer.extend([record.kind, if is_last { 0 } else { CONTINUES }, 0, 0]);
    buffer.extend(&record.bytes);
    let checksum = crc32fast::hash(&buffer[begin + 4..]);
    buffer[begin..begin + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// The frame at `at`; `None` where it is not whole.
pub(super) fn read(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let head = bytes.get(at..)?.get(..FRAME_BYTES)?;
    let begin = at + FRAME_BYTES;
    let end = begin.checked_add(number(head, 4, 4)? as usize)?;
    let body = bytes.get(begin..end)?;
    if u64::from(crc32fast::hash(&bytes[at + 4..end])) != number(head, 0, 4)? {
        return None;
    }
    let is_last_of_group = head[25] & CONTINUES == 0;
    Some(Frame { sequence: number(head, 8, 8)?, is_last_of_group, kind: head[24], bytes: body, end })
}

/// Whether a frame that is whole, somewhere from `from` on, says that record `sequence` was durable.
pub(super) fn is_vouched_for(bytes: &[u8], from: usize, sequence: Sequence) -> bool {
    let last = bytes.len().saturating_sub(FRAME_BYTES);
    (from..=last).any(|at| {
        let Some(head) = bytes.get(at..at + FRAME_BYTES) else { return false };
        let (own, durable) =
            (number(head, 8, 8).unwrap_or_default(), number(head, 16, 8).unwrap_or_default());
        // What is no frame hardly ever gets past this: the checksum is computed for few places.
        let is_plausible = durable >= sequence && own > durable && own - sequence <= bytes.len() as u64;
        is_plausible && read(bytes, at).is_some()
    })
}

/// The number in the `length` bytes of `bytes` from `at` on.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let mut whole = [0; 8];
    whole.get_mut(..length)?.copy_from_slice(bytes.get(at..at + length)?);
    Some(u64::from_le_bytes(whole))
}
