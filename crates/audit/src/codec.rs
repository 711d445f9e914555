//! The bytes of a leaf [F]: a CBOR array `[1, sort, …]` in the order documented in `docs/guide/audit-log.md`.
//!
//! One entry has one encoding: access positions are sorted and grouped by shard and incarnation, each group one byte
//! string of LEB128 differences (the first from 0). A position read twice stands twice.

use crate::{
    cbor::{self, Reader, malformed},
    entry::Entry,
};
use model::{Class, Error, Incarnation, Position, Result, Shard};

const VERSION: u64 = 1;
const WRITE: u64 = 0;
const ACCESS: u64 = 1;
const ACT: u64 = 2;
const RESTORE: u64 = 3;

/// What a C2SP entry bundle can hold.
pub const MAX_ENTRY: usize = 65_535;

/// Appends the encoding of one entry.
pub(crate) fn encode_into(out: &mut Vec<u8>, entry: &Entry) -> Result<()> {
    let start = out.len();
    match entry {
        Entry::Write { position, hlc, principal, tenant, action, kind, id, version, class, purpose, content_tag } => {
            begin(out, 13, WRITE);
            put_position(out, *position);
            cbor::put_uint(out, *hlc);
            put_texts(out, [principal, tenant, action]);
            cbor::put_int(out, *kind);
            cbor::put_text(out, id);
            cbor::put_uint(out, *version);
            cbor::put_uint(out, *class as u64);
            cbor::put_text(out, purpose);
            cbor::put_bytes(out, content_tag);
        }
        Entry::Access { hlc, principal, tenant, purpose, class, positions } => {
            let mut sorted = positions.clone();
            sort(&mut sorted);
            put_access(out, *hlc, [principal, tenant, purpose], *class, &sorted);
        }
        Entry::Act { hlc, principal, tenant, action, outcome, detail } => {
            begin(out, 8, ACT);
            cbor::put_uint(out, *hlc);
            put_texts(out, [principal, tenant, action, outcome, detail]);
        }
        Entry::Restore { hlc, principal, from, to, voided } => {
            begin(out, 8, RESTORE);
            cbor::put_uint(out, *hlc);
            cbor::put_text(out, principal);
            put_position(out, *from);
            put_position(out, *to);
            cbor::put_uint(out, *voided.start());
            cbor::put_uint(out, *voided.end());
        }
    }
    let length = out.len() - start;
    if length > MAX_ENTRY {
        out.truncate(start);
        let message = "an audit entry holds at most 65535 bytes; shorten its texts or split it";
        return Err(Error::invalid("audit-entry-too-large", message).with("bytes", length));
    }
    Ok(())
}

/// The canonical bytes of an entry.
pub fn encode(entry: &Entry) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    encode_into(&mut out, entry)?;
    Ok(out)
}

fn begin(out: &mut Vec<u8>, items: u64, sort: u64) {
    cbor::put_array(out, items);
    cbor::put_uint(out, VERSION);
    cbor::put_uint(out, sort);
}

fn put_texts<const N: usize>(out: &mut Vec<u8>, texts: [&String; N]) {
    for text in texts {
        cbor::put_text(out, text);
    }
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    cbor::put_array(out, 4);
    put_log(out, position);
    cbor::put_uint(out, position.n);
}

fn put_log(out: &mut Vec<u8>, position: Position) {
    cbor::put_uint(out, u64::from(position.shard.0));
    cbor::put_uint(out, u64::from(position.incarnation.ordinal));
    cbor::put_uint(out, position.incarnation.random);
}

/// The order of positions in an access leaf.
pub(crate) fn sort(positions: &mut [Position]) {
    positions.sort_unstable_by_key(|position| (position.shard, position.incarnation, position.n));
}

fn same_log(a: &Position, b: &Position) -> bool {
    a.shard == b.shard && a.incarnation == b.incarnation
}

/// An access leaf from positions that are already in order (the hot path: nothing is cloned).
pub(crate) fn put_access(out: &mut Vec<u8>, hlc: u64, texts: [&str; 3], class: Class, sorted: &[Position]) {
    begin(out, 8, ACCESS);
    cbor::put_uint(out, hlc);
    for text in texts {
        cbor::put_text(out, text);
    }
    cbor::put_uint(out, class as u64);
    cbor::put_array(out, sorted.chunk_by(same_log).count() as u64);
    let mut packed = Vec::with_capacity(sorted.len() * 3 + 10);
    for group in sorted.chunk_by(same_log) {
        packed.clear();
        let mut last = 0;
        for position in group {
            put_varint(&mut packed, position.n - last);
            last = position.n;
        }
        cbor::put_array(out, 4);
        put_log(out, group[0]);
        cbor::put_bytes(out, &packed);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(|| malformed("a position ends early"))?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return Err(malformed("a position is out of range"));
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            let padded = *byte == 0 && shift > 0;
            return if padded { Err(malformed("a position is longer than it need be")) } else { Ok(value) };
        }
    }
    Err(malformed("a position is out of range"))
}

/// Reads one entry; anything but the canonical encoding is refused.
pub fn decode(bytes: &[u8]) -> Result<Entry> {
    if bytes.len() > MAX_ENTRY {
        return Err(malformed("it is longer than 65535 bytes"));
    }
    let mut reader = Reader::new(bytes);
    let items = reader.array()?;
    if reader.uint()? != VERSION {
        return Err(malformed("its version is unknown"));
    }
    let entry = match (reader.uint()?, items) {
        (WRITE, 13) => take_write(&mut reader)?,
        (ACCESS, 8) => take_access(&mut reader)?,
        (ACT, 8) => Entry::Act {
            hlc: reader.uint()?,
            principal: reader.text()?.to_owned(),
            tenant: reader.text()?.to_owned(),
            action: reader.text()?.to_owned(),
            outcome: reader.text()?.to_owned(),
            detail: reader.text()?.to_owned(),
        },
        (RESTORE, 8) => Entry::Restore {
            hlc: reader.uint()?,
            principal: reader.text()?.to_owned(),
            from: take_position(&mut reader)?,
            to: take_position(&mut reader)?,
            voided: reader.uint()?..=reader.uint()?,
        },
        _ => return Err(malformed("its sort is unknown or has another number of items")),
    };
    reader.end()?;
    Ok(entry)
}

fn take_write(reader: &mut Reader<'_>) -> Result<Entry> {
    Ok(Entry::Write {
        position: take_position(reader)?,
        hlc: reader.uint()?,
        principal: reader.text()?.to_owned(),
        tenant: reader.text()?.to_owned(),
        action: reader.text()?.to_owned(),
        kind: reader.int()?,
        id: reader.text()?.to_owned(),
        version: reader.uint()?,
        class: take_class(reader)?,
        purpose: reader.text()?.to_owned(),
        content_tag: reader.bytes()?.try_into().map_err(|_| malformed("a content tag has not 32 bytes"))?,
    })
}

fn take_class(reader: &mut Reader<'_>) -> Result<Class> {
    Class::from_code(reader.narrow()?).map_err(|_| malformed("its class is unknown"))
}

fn take_position(reader: &mut Reader<'_>) -> Result<Position> {
    reader.array_of(4)?;
    let mut position = take_log(reader)?;
    position.n = reader.uint()?;
    Ok(position)
}

fn take_log(reader: &mut Reader<'_>) -> Result<Position> {
    let shard = Shard(reader.narrow()?);
    let incarnation = Incarnation { ordinal: reader.narrow()?, random: reader.uint()? };
    Ok(Position { shard, incarnation, n: 0 })
}

fn take_access(reader: &mut Reader<'_>) -> Result<Entry> {
    let hlc = reader.uint()?;
    let principal = reader.text()?.to_owned();
    let tenant = reader.text()?.to_owned();
    let purpose = reader.text()?.to_owned();
    let class = take_class(reader)?;
    let mut positions = Vec::new();
    let mut before: Option<Position> = None;
    for _ in 0..reader.array()? {
        reader.array_of(4)?;
        let mut at = take_log(reader)?;
        if before.is_some_and(|before| (before.shard, before.incarnation) >= (at.shard, at.incarnation)) {
            return Err(malformed("its groups of positions are out of order"));
        }
        before = Some(at);
        let mut packed = reader.bytes()?;
        if packed.is_empty() {
            return Err(malformed("a group has no position"));
        }
        while !packed.is_empty() {
            let step = take_varint(&mut packed)?;
            at.n = at.n.checked_add(step).ok_or_else(|| malformed("a position is out of range"))?;
            positions.push(at);
        }
    }
    Ok(Entry::Access { hlc, principal, tenant, purpose, class, positions })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn position() -> impl Strategy<Value = Position> {
        (0u16..3, 0u32..3, any::<u64>(), any::<u64>()).prop_map(|(shard, ordinal, random, n)| Position {
            shard: Shard(shard),
            incarnation: Incarnation { ordinal, random: random % 3 },
            n: n >> (random % 64),
        })
    }

    fn class() -> impl Strategy<Value = Class> {
        prop::sample::select(&Class::ALL[..])
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let text = || "[a-zäöü\u{0}-\u{7f}]{0,40}";
        let write = (position(), any::<u64>(), vec(text(), 5), any::<i16>(), any::<u64>(), class(), any::<[u8; 32]>())
            .prop_map(|(position, hlc, texts, kind, version, class, content_tag)| Entry::Write {
                position,
                hlc,
                principal: texts[0].clone(),
                tenant: texts[1].clone(),
                action: texts[2].clone(),
                kind,
                id: texts[3].clone(),
                version,
                class,
                purpose: texts[4].clone(),
                content_tag,
            });
        let access = (any::<u64>(), vec(text(), 3), class(), vec(position(), 0..50)).prop_map(
            |(hlc, texts, class, mut positions)| {
                sort(&mut positions);
                let [principal, tenant, purpose] = texts.try_into().unwrap();
                Entry::Access { hlc, principal, tenant, purpose, class, positions }
            },
        );
        let act = (any::<u64>(), vec(text(), 5)).prop_map(|(hlc, texts)| {
            let [principal, tenant, action, outcome, detail] = texts.try_into().unwrap();
            Entry::Act { hlc, principal, tenant, action, outcome, detail }
        });
        let restore = (any::<u64>(), text(), position(), position(), any::<u64>(), any::<u64>())
            .prop_map(|(hlc, principal, from, to, a, b)| Entry::Restore { hlc, principal, from, to, voided: a..=b });
        prop_oneof![write, access, act, restore]
    }

    proptest! {
        #[test]
        fn every_entry_reads_back(entry in entry()) {
            prop_assert_eq!(decode(&encode(&entry).unwrap()).unwrap(), entry);
        }

        /// Whatever is accepted is the one encoding of what it says: no second spelling gets through.
        #[test]
        fn only_the_canonical_encoding_is_accepted(entry in entry(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..3) {
            let mut bytes = encode(&entry).unwrap();
            let place = at.index(bytes.len());
            match cut {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => { bytes.remove(place); }
            }
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(encode(&read).unwrap(), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(encode(&read).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn longer_spellings_and_unsorted_groups_are_refused() {
        let refused = |hex: &str| decode(&hex::decode(hex).unwrap()).unwrap_err().to_string();
        assert!(decode(&hex::decode("8801010760606000 80".replace(' ', "")).unwrap()).is_ok());
        assert!(refused("880118010760606000 80".replace(' ', "").as_str()).contains("longer than it need be"));
        assert!(refused("880101076060600081840000004180").contains("ends early"));
        assert!(refused("88010107606060008184000000428000").contains("longer than it need be"));
        assert!(refused("880101076060600082840001004101840000004101").contains("out of order"));
        assert!(refused("8801010760606000818400000040").contains("no position"));
        assert!(refused("88010107606060048400").contains("class"));
        assert!(refused("880101076060600080 00".replace(' ', "").as_str()).contains("follow its end"));
    }

    #[test]
    fn an_entry_that_no_bundle_can_hold_is_refused() {
        let entry = Entry::Act {
            hlc: 1,
            principal: "p".into(),
            tenant: "t".into(),
            action: "a".into(),
            outcome: "o".into(),
            detail: "x".repeat(65_530),
        };
        assert_eq!(encode(&entry).unwrap_err().code(), "audit-entry-too-large");
    }

    #[test]
    fn a_full_access_leaf_stays_far_below_the_limit() {
        let spread =
            |n: u64| Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 9 }, n: n << 53 };
        let mut out = Vec::new();
        put_access(&mut out, 1, ["p", "t", "u"], Class::Confidential, &(0..1_024).map(spread).collect::<Vec<_>>());
        assert!(out.len() < 12_000, "{}", out.len());
    }

    /// The committed vectors: what any other implementation must produce.
    #[test]
    fn the_published_vectors_hold() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/audit/entries.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(vectors.len(), 4);
        for (vector, entry) in vectors.iter().zip(samples()) {
            let bytes = encode(&entry).unwrap();
            assert_eq!(vector["cbor"], hex::encode(&bytes), "{}", vector["name"]);
            assert_eq!(vector["leaf"], hex::encode(crate::merkle::leaf_hash(&bytes)), "{}", vector["name"]);
            assert_eq!(decode(&bytes).unwrap(), entry);
        }
    }

    fn samples() -> [Entry; 4] {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let write = Entry::Write {
            position: at("0.1-9f86d081884c7d65.42"),
            hlc: 7_301_444_403_200_000_001,
            principal: "operator".into(),
            tenant: "north".into(),
            action: "update".into(),
            kind: 1,
            id: "5f2b0c1e-intent".into(),
            version: 3,
            class: Class::Confidential,
            purpose: "operation".into(),
            content_tag: [0xab; 32],
        };
        let positions = [
            "0.1-9f86d081884c7d65.40",
            "0.1-9f86d081884c7d65.42",
            "0.1-9f86d081884c7d65.42",
            "0.2-00000000000000ff.400",
        ];
        let access = Entry::Access {
            hlc: 7_301_444_403_200_000_002,
            principal: "reader".into(),
            tenant: "north".into(),
            purpose: "assurance".into(),
            class: Class::Confidential,
            positions: positions.map(at).to_vec(),
        };
        let act = Entry::Act {
            hlc: 7_301_444_403_200_000_003,
            principal: "admin".into(),
            tenant: "north".into(),
            action: "token-revoke".into(),
            outcome: "ordered".into(),
            detail: "principal reader".into(),
        };
        let restore = Entry::Restore {
            hlc: 7_301_444_403_200_000_004,
            principal: "admin".into(),
            from: at("0.1-9f86d081884c7d65.40"),
            to: at("0.2-00000000000000ff.41"),
            voided: 41..=42,
        };
        [write, access, act, restore]
    }
}
