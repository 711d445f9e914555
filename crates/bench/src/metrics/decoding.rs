//! Taking a body apart and putting it together again for an engine: what the door does, against the same by prost's
//! structs, which is what it would be without a reader of its own.

use super::{
    DISTURBED,
    sender::{Batch, Message, Series},
};
use crate::{
    results::{Row, TOLD},
    stand::failed,
};
use model::{Result, Tenant};
use std::{hint::black_box, time::Instant};
use stores::metrics::{
    Protocol,
    write::{self, pack_stored},
};

const TIMES: u32 = 200;

/// Microseconds for each series: ours, and by prost's structs.
pub fn measure(series: &[Series]) -> Result<(f64, f64)> {
    let series = &series[..series.len().min(2_000)];
    let body = Batch::new(Message::V1, series).at(1, 1)?;
    let tenant = Tenant::new("default")?;
    let engine = write::Engine { protocol: Protocol::V1, any_names: false };
    let ours = each(series.len(), || {
        let batches = write::decode(Protocol::V1, &body, &tenant, engine)?;
        for batch in batches.by_class.values() {
            black_box(pack_stored(&batch.message(0..batch.len())));
        }
        Ok(())
    })?;
    let prost = each(series.len(), || {
        let message = snap::raw::Decoder::new().decompress_vec(&body);
        let message = message.map_err(|error| failed("a body cannot be unpacked").caused_by(error))?;
        black_box(pack_stored(&Batch::again(&message, tenant.as_str())?));
        Ok(())
    })?;
    Ok((ours, prost))
}

pub fn row(measured: Option<(f64, f64)>) -> Row {
    let work = "a body of remote write 1.0 taken apart, its tenant forced in, put together";
    match measured {
        Some((ours, prost)) => Row::told(work, format!("{ours:.2} µs a series; {prost:.2} µs by prost's structs")),
        None => Row::not_measured(work, TOLD, DISTURBED),
    }
}

fn each(series: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let begun = Instant::now();
    for _ in 0..TIMES {
        work()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES) / series as f64)
}
