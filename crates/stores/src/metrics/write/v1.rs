//! `prometheus.WriteRequest`: series with their labels written out, metadata beside them.

use super::{
    Engine,
    batch::{Batches, Counts, Described},
    labels::Labels,
};
use crate::metrics::{scope, wire::Fields};
use model::{Result, Tenant};

pub fn read(message: &[u8], tenant: &Tenant, engine: Engine, batches: &mut Batches) -> Result<()> {
    let (mut labels, mut head, mut rest) = (Labels::default(), Vec::new(), Vec::new());
    for field in Fields(message) {
        let field = field?;
        match field.number {
            1 => {
                labels.clear();
                rest.clear();
                let counts = series(field.value.bytes()?, &mut labels, &mut rest)?;
                if let Err(why) = labels.settle(tenant.as_str(), (0, 0), engine) {
                    batches.refuse(&labels, counts, why);
                } else if counts.all() > 0 {
                    labels.encode_v1(&mut head);
                    let class = scope::class_of(labels.name().unwrap_or_default());
                    batches.of(class, Vec::new).push(&head, &rest, counts);
                }
            }
            3 => batches.described.push(described(field.value.bytes()?)?),
            _ => {}
        }
    }
    Ok(())
}

/// Labels apart, everything else as it came: samples 2, exemplars 3, histograms 4.
fn series<'a>(bytes: &'a [u8], labels: &mut Labels<'a>, rest: &mut Vec<u8>) -> Result<Counts> {
    let mut counts = Counts::default();
    for field in Fields(bytes) {
        let field = field?;
        match field.number {
            1 => {
                let (name, value) = label(field.value.bytes()?)?;
                labels.push(name, value, (0, 0));
                continue;
            }
            2 => counts.samples += 1,
            3 => counts.exemplars += 1,
            4 => counts.histograms += 1,
            _ => continue,
        }
        // A sample that is no message would make the engine refuse the whole batch.
        for inner in Fields(field.value.bytes()?) {
            inner?;
        }
        rest.extend_from_slice(field.raw);
    }
    Ok(counts)
}

fn label(bytes: &[u8]) -> Result<(&str, &str)> {
    let (mut name, mut value) = ("", "");
    for field in Fields(bytes) {
        let field = field?;
        match field.number {
            1 => name = field.value.text()?,
            2 => value = field.value.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn described(bytes: &[u8]) -> Result<Described> {
    let mut found = Described { family: String::new(), kind: 0, help: String::new(), unit: String::new() };
    for field in Fields(bytes) {
        let field = field?;
        match field.number {
            1 => found.kind = field.value.number()?,
            2 => field.value.text()?.clone_into(&mut found.family),
            4 => field.value.text()?.clone_into(&mut found.help),
            5 => field.value.text()?.clone_into(&mut found.unit),
            _ => {}
        }
    }
    Ok(found)
}
