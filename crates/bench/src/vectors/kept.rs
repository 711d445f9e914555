//! An embedder behind HTTP (the test kit's, on this machine): passages in, and the copy made anew from what the record
//! keeps. Per core: by the processor time of server and database, which a rebuild with its comparison takes.

use super::{corpus::Corpus, door::command};
use crate::{
    machine::Sampler,
    results::{Row, grouped},
    stand::{Stand, failed},
};
use model::Result;
use std::{path::Path, time::Instant};
use testkit::embedder::{DIMENSIONS, MODEL, Server};

const KEY: &str = "bench";

pub async fn rows(place: &Path, corpus: &Corpus) -> Result<Vec<Row>> {
    let server = Server::start(KEY);
    let (url, dimensions) = (server.url(), DIMENSIONS.to_string());
    let variables = [
        ("NEPHKEEP_EMBEDDER_URL", &*url),
        ("NEPHKEEP_EMBEDDER_MODEL", MODEL),
        ("NEPHKEEP_EMBEDDER_DIMENSIONS", &*dimensions),
        ("NEPHKEEP_EMBEDDER_KEY", KEY),
    ];
    let mut stand = Stand::called(place, "kept", &variables).await?;
    let begun = Instant::now();
    command(&stand, &["knowledge", "import", &corpus.file.display().to_string()])?;
    command(&stand, &["verify", "vectors"])?;
    let imported = begun.elapsed().as_secs_f64();
    let asked = server.texts();
    let (pid, database) = (stand.site.pid(), stand.database());
    let (sampler, begun) = (Sampler::begin(), Instant::now());
    command(&stand, &["rebuild", "vectors"])?;
    let took = begun.elapsed().as_secs_f64();
    let used = sampler.end(pid, &database);
    stand.site.stop().await?;
    if server.texts() != asked {
        return Err(failed("a rebuild asked the embedder").with("texts", server.texts() - asked));
    }
    let (hour, vectors) = (corpus.passages.len() as f64 / imported * 3_600.0, asked as f64);
    let per_core = vectors / (used.server_s + used.database_s).max(f64::EPSILON);
    Ok(vec![
        Row::new(
            "passages imported with an embedder behind HTTP, its time included: stored, embedded, kept, compared",
            "≥ 50,000/h",
            format!("{}/h", grouped(hour)),
            hour >= 50_000.0,
        ),
        Row::new(
            format!("copy made anew from {} kept vectors of {DIMENSIONS} numbers, and compared", grouped(vectors)),
            "≥ 8,000/s per core, the embedder not asked",
            format!("{}/s per core, {}/s by the clock, 0 texts asked", grouped(per_core), grouped(vectors / took)),
            per_core >= 8_000.0,
        ),
    ])
}
