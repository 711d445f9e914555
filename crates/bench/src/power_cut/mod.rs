//! `cargo x power-cut`: the private PostgreSQL on a disk that forgets what was not synced.
//!
//! Each round: load, power cut, every process killed, power back, the supervisor recovers, and every acknowledged row
//! is looked for. The control runs the same with `fsync=off` and has to lose some: a check that cannot fail is none.
//! Half of the rounds drop every unsynced page, the others keep each by a coin, which tears what lies on several pages.

mod load;
mod whole;

use crate::{
    Verdict, machine,
    results::{self, Row},
};
use clap::Args;
use ledger::server::{Local, LocalOptions};
use load::Acknowledged;
use model::{Error, Result};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use testkit::fuse::{Disk, Lost, Names, Unsynced, unavailable};
use tokio::time::{sleep, timeout};

/// How long recovery may take before the database counts as gone.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
const CONTROL_ROUNDS_MAX: u64 = 3;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Power cuts with everything as shipped
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Load before each cut
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Of the load's jitter and of the coin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only PostgreSQL, without the rounds of the whole nephkeep
    #[arg(long)]
    only_postgresql: bool,
    /// POSIX to the letter: a new name is durable by fsync of its directory only. PostgreSQL relies on more (as ext4,
    /// xfs and btrfs give it), so this loses data; for looking, not for passing
    #[arg(long)]
    strict_names: bool,
    /// Write docs/results/power-cut.json
    #[arg(long)]
    write: bool,
}

struct Tally {
    rounds: u64,
    acknowledged: u64,
    lost: u64,
}

pub async fn run(arguments: Arguments) -> Verdict {
    if let Some(why) = unavailable() {
        if std::env::var_os("CI").is_some() {
            return Err(Error::invalid("power-cut-impossible", format!("CI has to run the power-cut test: {why}")));
        }
        println!("power-cut: skipped, {why}");
        return Ok(true);
    }
    let shipped = series(&arguments, &[], arguments.rounds, false).await?;
    let whole = if arguments.only_postgresql { None } else { Some(Box::pin(whole::run(&arguments)).await?) };
    let off = [("fsync".to_owned(), "off".to_owned())];
    let control = series(&arguments, &off, CONTROL_ROUNDS_MAX, true).await?;
    if arguments.write {
        write(&arguments, &shipped, whole.as_ref(), &control)?;
    }
    if let Some(whole) = &whole {
        let (rounds, acknowledged, damaged) = (whole.rounds, whole.acknowledged, whole.damaged);
        println!("power-cut, whole nephkeep: rounds {rounds}, acknowledged {acknowledged}, lost or damaged {damaged}");
    }
    println!(
        "power-cut: rounds {}, acknowledged {}, lost {}; control fsync=off: lost {}",
        shipped.rounds, shipped.acknowledged, shipped.lost, control.lost
    );
    let whole = whole.is_none_or(|whole| whole.damaged == 0 && whole.acknowledged > 0);
    Ok(whole && shipped.lost == 0 && shipped.acknowledged > 0 && control.lost > 0)
}

fn write(arguments: &Arguments, shipped: &Tally, whole: Option<&whole::Tally>, control: &Tally) -> Result<()> {
    let measured = |rounds: u64, acknowledged: u64, lost: u64| {
        format!("{rounds} power cuts, {} acknowledged, {lost} lost", results::grouped(acknowledged as f64))
    };
    let kept = |lost: u64, acknowledged: u64| lost == 0 && acknowledged > 0;
    let text = measured(shipped.rounds, shipped.acknowledged, shipped.lost);
    let mut rows =
        vec![Row::new("power cut under PostgreSQL", "0 lost", text, kept(shipped.lost, shipped.acknowledged))];
    if let Some(whole) = whole {
        let text = measured(whole.rounds, whole.acknowledged, whole.damaged);
        let met = kept(whole.damaged, whole.acknowledged);
        rows.push(Row::new("power cut under the whole of nephkeep", "0 lost or damaged", text, met));
    }
    let text = measured(control.rounds, control.acknowledged, control.lost);
    rows.push(Row::new("the same with fsync=off (control)", "must lose", text, control.lost > 0));
    let facts = machine::facts(&std::env::temp_dir());
    let details = json!({"seconds": arguments.seconds, "seed": arguments.seed});
    results::store("power-cut", "cargo x power-cut --write", facts, details, &rows)
}

/// Rounds on one disk; a control ends with its first loss.
async fn series(arguments: &Arguments, extra: &[(String, String)], rounds: u64, control: bool) -> Result<Tally> {
    let place = tempfile::tempdir().map_err(|e| failed("make a directory", e))?;
    // PostgreSQL runs under another account and has to pass through.
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).map_err(|e| failed("open a directory", e))?;
    let mount = place.path().join("disk");
    fs::create_dir(&mount).map_err(|e| failed("make a directory", e))?;
    let mut disk = start_disk(&mount, arguments.strict_names).map_err(|e| failed("mount the file system", e))?;
    let record = disk.path().join("record");
    let options = LocalOptions { extra: extra.to_vec(), ..LocalOptions::default() };
    let mut server = Some(Local::start(&record, options.clone()).await?);
    if let Some(server) = &server {
        load::prepare(server).await?;
    }
    let mut acknowledged = Acknowledged::new(&place.path().join("acks"))?;
    let mut tally = Tally { rounds: 0, acknowledged: 0, lost: 0 };
    for round in 0..rounds {
        let Some(running) = server.take() else { break };
        tally.rounds += 1;
        let seed = arguments.seed + round;
        let length = Duration::from_secs_f64(arguments.seconds * (0.75 + (seed % 7) as f64 / 12.0));
        let thrown = one_round(&mut disk, running, &acknowledged, seed, length).await?;
        let begun = Instant::now();
        // A database that does not come back has lost everything; that is a finding, not a failure to look.
        server = match timeout(RECOVERY_LIMIT, Local::start(&record, options.clone())).await {
            Ok(Ok(server)) => Some(server),
            Ok(Err(error)) => {
                eprintln!("power-cut: the server does not start: {error}");
                None
            }
            Err(_) => None,
        };
        let recovery = begun.elapsed();
        (tally.acknowledged, tally.lost) = load::count(server.as_ref(), &mut acknowledged).await?;
        eprintln!(
            "power-cut: {} round {}: acknowledged {} in all, lost {}; thrown away {} pages, {} kB of tails, {} names; recovery took {:.1} s",
            if control { "control" } else { "shipped" },
            round + 1,
            tally.acknowledged,
            tally.lost,
            thrown.pages,
            thrown.tail_bytes / 1024,
            thrown.names,
            recovery.as_secs_f64(),
        );
        if control && tally.lost > 0 {
            break;
        }
    }
    if let Some(server) = server {
        server.stop().await?;
    }
    Ok(tally)
}

async fn one_round(
    disk: &mut Disk,
    server: Local,
    acknowledged: &Acknowledged,
    seed: u64,
    length: Duration,
) -> Result<Lost> {
    let load = load::begin(&server, acknowledged, seed)?;
    sleep(length).await;
    let unsynced = if seed.is_multiple_of(2) { Unsynced::Coin { seed } } else { Unsynced::Forgotten };
    let thrown = disk.cut(unsynced).map_err(|e| failed("cut the power", e))?;
    kill_all(&server).await?;
    // The supervisor dies in a power cut too; what comes after is a fresh start.
    server.stop().await?;
    load.end().await?;
    disk.restore().map_err(|e| failed("bring the power back", e))?;
    Ok(thrown)
}

/// The hidden verb: this binary as the server of the disk.
#[derive(Debug, Args)]
pub struct Serve {
    directory: PathBuf,
    #[arg(long)]
    strict_names: bool,
}

pub fn serve(arguments: &Serve) -> Verdict {
    let names = if arguments.strict_names { Names::DirectoryOnly } else { Names::WithFile };
    testkit::fuse::serve(&arguments.directory, names).map_err(|e| failed("serve the file system", e))?;
    Ok(true)
}

fn start_disk(mount: &Path, strict_names: bool) -> std::io::Result<Disk> {
    let mut server = std::process::Command::new(std::env::current_exe()?);
    server.arg("serve-disk").arg(mount);
    if strict_names {
        server.arg("--strict-names");
    }
    Disk::start(server, mount)
}

/// Nothing survives a power cut; what the supervisor starts meanwhile neither.
async fn kill_all(server: &Local) -> Result<()> {
    let all = async {
        loop {
            let living = server.processes();
            if living.is_empty() {
                return;
            }
            for pid in living {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // Already gone is as good.
                    let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), all)
        .await
        .map_err(|_| Error::retry("power-cut-failed", "processes of the server do not end"))
}

fn failed(what: &str, error: std::io::Error) -> Error {
    Error::retry("power-cut-failed", format!("cannot {what}")).caused_by(error)
}
