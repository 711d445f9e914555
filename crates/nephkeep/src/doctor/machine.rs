//! The machine: PostgreSQL's programs, limits, the clock.

use super::Finding;
use crate::{
    layout::Layout,
    settings::{Record, Settings},
};
use jiff::Timestamp;
use ledger::server::{Binaries, Local};
use rustix::process::{Resource, getrlimit};
use std::fs;

const FILES_MIN: u64 = 4096;

pub fn postgresql(settings: Option<&Settings>) -> Finding {
    const CHECK: &str = "postgresql";
    if settings.is_some_and(|settings| matches!(settings.record, Record::Postgres { .. })) {
        return Finding::ok(CHECK, "the record lies on an existing server; no programs are needed here");
    }
    let own = settings.and_then(|settings| settings.postgresql_bin.as_deref());
    let found = match own {
        Some(place) => Binaries::only_at(place, None),
        None => Local::find_binaries(),
    };
    match found {
        Ok(binaries) => Finding::ok(CHECK, format!("{} in {}", binaries.version, binaries.directory.display())),
        Err(error) => Finding::error(CHECK, &error),
    }
}

pub fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    match limit.current {
        Some(files) if files < FILES_MIN => Finding::warn(
            "open files",
            format!("this shell allows {files}"),
            format!("ulimit -n {FILES_MIN} before `nephkeep up`, else connections are refused early"),
        ),
        Some(files) => Finding::ok("open files", files.to_string()),
        None => Finding::ok("open files", "unlimited"),
    }
}

/// A clock that is behind what was written before makes every time stamp a puzzle.
pub fn clock(layout: &Layout) -> Finding {
    let newest = [layout.settings(), layout.log(), layout.lock()];
    let newest = newest.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
    let now = crate::clock::wall();
    let newest = newest.and_then(|newest| Timestamp::try_from(newest).ok());
    match newest.map(|newest| newest.duration_since(now)).filter(|ahead| ahead.as_secs() > 2) {
        Some(ahead) => Finding::warn(
            "clock",
            format!("the clock stands {} s before the newest file of the directory", ahead.as_secs()),
            "set the clock, and let NTP hold it; log positions stay right meanwhile",
        ),
        None => Finding::ok("clock", now.to_string()),
    }
}
