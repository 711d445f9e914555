//! The whole nephkeep on the disk that forgets: record, keystore, slots and audit log together, loaded over HTTP.

use super::{Arguments, failed, start_disk};
use crate::{
    isolation::binary,
    stand::{self, on_one_thread},
};
use ledger::server::Local;
use model::{Error, Result};
use operations::drill::{
    account::{Account, account},
    ackfile, faults, gather,
    load::{self, Load},
    site::Site,
    work::{Target, Work},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use testkit::fuse::Unsynced;
use tokio::time::sleep;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Sum over all rounds, counted after the last one.
pub struct Tally {
    pub rounds: u64,
    pub acknowledged: u64,
    /// Lost, duplicated, torn or forked.
    pub damaged: u64,
}

/// One round's load: what made its documents, and what it was told.
type Loaded = (u64, PathBuf);

pub async fn run(arguments: &Arguments) -> Result<Tally> {
    let program = binary::build(false)?;
    let place = tempfile::tempdir().map_err(|e| failed("make a directory", e))?;
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).map_err(|e| failed("open a directory", e))?;
    let mount = place.path().join("disk");
    fs::create_dir(&mount).map_err(|e| failed("make a directory", e))?;
    let mut disk = start_disk(&mount, arguments.strict_names).map_err(|e| failed("mount the file system", e))?;
    let root = disk.path().join("nephkeep");
    let mut site = Site::new(stand::layout(program, root.clone()), vec!["up".into(), root.into()], Vec::new());
    site.log_to(place.path().join("server.log"));
    site.start().await?;
    let mut tally = Tally { rounds: 0, acknowledged: 0, damaged: 0 };
    let mut loads: Vec<Loaded> = Vec::new();
    for round in 0..arguments.rounds {
        let seed = arguments.seed + round;
        let acks = place.path().join(format!("acks-{round}"));
        let stop = Arc::new(AtomicBool::new(false));
        let load = {
            let (load, stop) = (load(&site.target()?, seed, &acks), stop.clone());
            tokio::spawn(on_one_thread(|| load::run(load, stop)))
        };
        loads.push((seed, acks));
        sleep(Duration::from_secs_f64(arguments.seconds)).await;
        let unsynced = if seed.is_multiple_of(2) { Unsynced::Coin { seed } } else { Unsynced::Forgotten };
        let database = Local::left_behind(&site.layout.record);
        let thrown = disk.cut(unsynced).map_err(|e| failed("cut the power", e))?;
        site.kill().await?;
        for pid in database {
            faults::kill(pid);
        }
        stop.store(true, Ordering::Relaxed);
        load.await.map_err(|error| Error::bug("the load ended unexpectedly").caused_by(error))??;
        disk.restore().map_err(|e| failed("bring the power back", e))?;
        while faults::kill_database(&site.layout.record) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        site.start().await?;
        site.answers(ANSWER_LIMIT).await?;
        tally = count(&site, &loads).await?;
        eprintln!(
            "power-cut: whole nephkeep round {}: acknowledged {} in all, lost or damaged {}; thrown away {} pages, {} names",
            round + 1,
            tally.acknowledged,
            tally.damaged,
            thrown.pages,
            thrown.names,
        );
    }
    site.stop().await?;
    Ok(tally)
}

fn load(target: &Target, seed: u64, acks: &Path) -> Load {
    Load {
        target: target.clone(),
        work: Work::Create,
        connections: 32,
        rate: None,
        length: Duration::from_secs(3600),
        warm_up: Duration::ZERO,
        seed,
        abandon_per_mille: 10,
        ack_file: Some(acks.to_path_buf()),
    }
}

/// All rounds are counted again each time: a cut must not reach back either.
async fn count(site: &Site, loads: &[Loaded]) -> Result<Tally> {
    let target = site.target()?;
    let mut tally = Tally { rounds: loads.len() as u64, acknowledged: 0, damaged: 0 };
    for (seed, acks) in loads {
        let lines = ackfile::read(acks)?;
        let found: Account = account(&lines, &gather::documents(&target, *seed).await?, &[]);
        found.examples.iter().for_each(|example| eprintln!("power-cut: {example}"));
        tally.acknowledged += found.acknowledged;
        tally.damaged += found.lost + found.duplicated + found.torn + found.forked + found.refused_but_present;
    }
    Ok(tally)
}
