//! `io.prometheus.write.v2.Request`: one table of symbols, series that refer to it, metadata with each series.
//!
//! Samples and histograms have the same fields in both versions and are copied; an old engine skips the start time
//! it does not know.

use super::{
    Engine, Protocol,
    batch::{Batches, Counts, Described},
    labels::{Labels, put_label},
};
use crate::metrics::{
    contract::Retention,
    scope::{self, TENANT},
    wire::{self, Field, Fields},
};
use model::{Error, Result, Tenant};

/// As in Prometheus: the characters of all labels of an exemplar.
const EXEMPLAR_CHARS: usize = 128;
/// An empty symbol costs two bytes on the wire and sixteen here.
const SYMBOLS_MOST: usize = 1 << 20;
/// The suffixes of a histogram's or summary's series.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

struct Table<'a> {
    symbols: Vec<&'a str>,
    /// The field 4 of each symbol, as it came, and the tenant's two.
    raw: Vec<u8>,
    /// Where the tenant's stand.
    tenant: (u32, u32),
}

impl<'a> Table<'a> {
    fn read(message: &'a [u8], tenant: &Tenant) -> Result<Self> {
        let (mut symbols, mut raw) = (Vec::new(), Vec::new());
        for field in Fields(message) {
            let field = field?;
            if field.number == 4 {
                if symbols.len() >= SYMBOLS_MOST {
                    let what = "the body names too many symbols; send smaller batches";
                    return Err(Error::invalid("body-too-large", what).with("limit", SYMBOLS_MOST));
                }
                symbols.push(field.value.text()?);
                raw.extend_from_slice(field.raw);
            }
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(wire::malformed().with("symbols", "the first is not empty"));
        }
        let own = u32::try_from(symbols.len()).ok().and_then(|first| Some((first, first.checked_add(1)?)));
        let tenant_at = own.ok_or_else(wire::malformed)?;
        wire::put_bytes(&mut raw, 4, TENANT.as_bytes());
        wire::put_bytes(&mut raw, 4, tenant.as_str().as_bytes());
        Ok(Self { symbols, raw, tenant: tenant_at })
    }

    fn at(&self, reference: u64) -> Result<(&'a str, u32)> {
        let symbol = usize::try_from(reference).ok().and_then(|at| self.symbols.get(at)).copied();
        symbol.zip(u32::try_from(reference).ok()).ok_or_else(|| wire::malformed().with("symbol", reference))
    }
}

pub fn read(message: &[u8], tenant: &Tenant, engine: Engine, batches: &mut Batches) -> Result<()> {
    let table = Table::read(message, tenant)?;
    let target = Protocol::V2.min(engine.protocol);
    let (mut labels, mut head, mut rest) = (Labels::default(), Vec::new(), Vec::new());
    for field in Fields(message) {
        let field = field?;
        if field.number != 5 {
            continue;
        }
        labels.clear();
        rest.clear();
        let Read { counts, told, overlong } = series(field.value.bytes()?, &table, target, &mut labels, &mut rest)?;
        batches.refuse_exemplars(overlong);
        let help = told.as_ref().map_or(0, |told| told.help.len() + told.unit.len());
        batches.unfold(labels.bytes() + rest.len() + help)?;
        if let Err(why) = labels.settle(tenant.as_str(), table.tenant, engine) {
            batches.refuse(&labels, counts, why);
            continue;
        }
        let name = labels.name().unwrap_or_default();
        batches.described.extend(told.map(|told| Described { family: family(name, told.kind).to_owned(), ..told }));
        if counts.all() > 0 {
            let symbols = || if target == Protocol::V2 { table.raw.clone() } else { Vec::new() };
            match target {
                Protocol::V1 => labels.encode_v1(&mut head),
                Protocol::V2 => labels.encode_v2(&mut head),
            }
            let class: Retention = scope::class_of(name);
            batches.of(class, symbols).push(&head, &rest, counts);
        }
    }
    Ok(())
}

/// What a series holds besides its labels.
#[derive(Default)]
struct Read {
    counts: Counts,
    told: Option<Described>,
    /// Exemplars that no engine stores.
    overlong: u64,
}

/// Labels 1, samples 2, histograms 3, exemplars 4, metadata 5.
fn series<'a>(
    bytes: &'a [u8],
    table: &Table<'a>,
    target: Protocol,
    labels: &mut Labels<'a>,
    rest: &mut Vec<u8>,
) -> Result<Read> {
    let mut read = Read::default();
    for field in Fields(bytes) {
        let field = field?;
        let copied = match field.number {
            1 => {
                pairs(field, table, |(name, at), (value, value_at)| labels.push(name, value, (at, value_at)))?;
                continue;
            }
            2 => {
                read.counts.samples += 1;
                2
            }
            3 => {
                read.counts.histograms += 1;
                if target == Protocol::V1 { 4 } else { 3 }
            }
            4 => {
                let stored = exemplar(field, table, target, rest)?;
                read.counts.exemplars += u64::from(stored);
                read.overlong += u64::from(!stored);
                continue;
            }
            5 => {
                read.told = Some(metadata(field.value.bytes()?, table)?);
                if target == Protocol::V2 {
                    rest.extend_from_slice(field.raw);
                }
                continue;
            }
            _ => continue,
        };
        let inner = field.value.bytes()?;
        for part in Fields(inner) {
            part?;
        }
        wire::put_bytes(rest, copied, inner);
    }
    Ok(read)
}

/// Packed references, name and value in turn.
fn pairs<'a>(field: Field<'a>, table: &Table<'a>, mut each: impl FnMut((&'a str, u32), (&'a str, u32))) -> Result<()> {
    let mut packed = field.value.bytes()?;
    while !packed.is_empty() {
        let (name, rest) = wire::varint(packed).ok_or_else(wire::malformed)?;
        let (value, rest) = wire::varint(rest).ok_or_else(wire::malformed)?;
        each(table.at(name)?, table.at(value)?);
        packed = rest;
    }
    Ok(())
}

/// Version 1 has it as field 3 with its labels written out. False for one whose labels are too long.
fn exemplar<'a>(field: Field<'a>, table: &Table<'a>, target: Protocol, rest: &mut Vec<u8>) -> Result<bool> {
    let (mut inner, mut chars) = (Vec::new(), 0);
    for part in Fields(field.value.bytes()?) {
        let part = part?;
        match part.number {
            1 => pairs(part, table, |(name, _), (value, _)| {
                chars += [name, value].map(|text| text.chars().take(EXEMPLAR_CHARS + 1).count()).iter().sum::<usize>();
                if chars <= EXEMPLAR_CHARS {
                    put_label(&mut inner, name, value);
                }
            })?,
            2 | 3 => inner.extend_from_slice(part.raw),
            _ => {}
        }
    }
    match target {
        _ if chars > EXEMPLAR_CHARS => return Ok(false),
        Protocol::V1 => wire::put_bytes(rest, 3, &inner),
        Protocol::V2 => rest.extend_from_slice(field.raw),
    }
    Ok(true)
}

fn metadata(bytes: &[u8], table: &Table<'_>) -> Result<Described> {
    let mut found = Described { family: String::new(), kind: 0, help: String::new(), unit: String::new() };
    for field in Fields(bytes) {
        let field = field?;
        match field.number {
            1 => found.kind = field.value.number()?,
            3 => table.at(field.value.number()?)?.0.clone_into(&mut found.help),
            4 => table.at(field.value.number()?)?.0.clone_into(&mut found.unit),
            _ => {}
        }
    }
    Ok(found)
}

/// The family of a series: of a histogram's or summary's parts the name without the part.
fn family(name: &str, kind: u64) -> &str {
    const WITH_PARTS: [u64; 3] = [3, 4, 5];
    let stem = PARTS.iter().find_map(|part| name.strip_suffix(part));
    stem.filter(|_| WITH_PARTS.contains(&kind)).unwrap_or(name)
}
