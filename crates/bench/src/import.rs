//! `cargo x bench import`: memory does not grow with the number of intents. Imports 100,000 and then 1,000,000 from
//! files with the command line itself, and compares the peaks of server and importer.

use crate::{
    Verdict, machine,
    results::{self, Row, grouped},
    stand::{Place, Stand, failed},
};
use clap::Args;
use model::Result;
use operations::drill::work;
use serde_json::json;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Peaks may differ by this much.
const GROWTH_MAX: f64 = 0.10;

#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    first: u64,
    #[arg(long, default_value_t = 1_000_000)]
    second: u64,
    /// Where the directory of the benchmark is made
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/import.json
    #[arg(long)]
    no_write: bool,
}

struct Peaks {
    server_mb: f64,
    importer_mb: f64,
    per_second: f64,
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let mut stand = Stand::start(place.path()).await?;
    let mut peaks = Vec::new();
    for (seed, count) in [(1, arguments.first), (2, arguments.second)] {
        // The peak counts from a fresh server's start.
        stand.restart().await?;
        peaks.push(import(&stand, place.path(), seed, count).await?);
    }
    stand.site.stop().await?;
    let sizes = format!("{} and {} intents", grouped(arguments.first as f64), grouped(arguments.second as f64));
    let (few, many) = (&peaks[0], &peaks[1]);
    let row = |who: &str, a: f64, b: f64| {
        let grown = (b - a).abs() / a.max(1.0);
        let measured = format!("{a:.0} MB and {b:.0} MB, {:.1} % apart", grown * 100.0);
        Row::new(
            format!("peak resident memory of the {who}, importing {sizes}"),
            "≤ 10 % apart",
            measured,
            grown <= GROWTH_MAX,
        )
    };
    let rows = [row("server", few.server_mb, many.server_mb), row("importer", few.importer_mb, many.importer_mb)];
    let details = json!({"imported_per_second": [few.per_second.round(), many.per_second.round()]});
    results::conclude("import", facts, details, &rows, !arguments.no_write)
}

async fn import(stand: &Stand, place: &Path, seed: u64, count: u64) -> Result<Peaks> {
    let path = place.join(format!("intents-{seed}.jsonl"));
    write(&path, seed, count).map_err(|error| failed("the intents cannot be written").caused_by(error))?;
    eprintln!("bench: importing {}", grouped(count as f64));
    let begun = Instant::now();
    let mut command = Command::new(&stand.site.layout.program);
    command.arg("--dir").arg(&stand.site.layout.root).args(["intent", "import"]).arg(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut importer = command.spawn().map_err(|error| failed("the importer does not start").caused_by(error))?;
    let pid = i32::try_from(importer.id()).unwrap_or(0);
    let mut importer_kb = 0;
    let status = loop {
        importer_kb = machine::resident_kb(pid).map_or(importer_kb, |(_, peak)| peak.max(importer_kb));
        match importer.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(failed("the importer cannot be awaited").caused_by(error)),
        }
    };
    if !status.success() {
        return Err(failed("the import failed").with("status", status));
    }
    let removed = std::fs::remove_file(&path);
    removed.map_err(|error| failed("the intents cannot be removed").caused_by(error))?;
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    Ok(Peaks { server_mb: stand.resident_mb()?.1, importer_mb: importer_kb as f64 / 1024.0, per_second })
}

fn write(path: &Path, seed: u64, count: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for number in 0..count {
        writeln!(out, "{}", work::intent(seed, number))?;
    }
    out.flush()
}
