//! Files and disks: who may read what, how much room there is, what fails together.

use super::Finding;
use crate::{
    layout::{self, Layout},
    settings::{Record, Settings},
};
use keys::{Kit, kit::Fit};
use ledger::server::Local;
use rustix::fs::{statfs, statvfs};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const ROOM_FAIL_BYTES: u64 = 256 << 20;
const ROOM_WARN_BYTES: u64 = 2 << 30;

pub fn directory(layout: &Layout) -> Vec<Finding> {
    const CHECK: &str = "directory";
    let root = layout.root();
    let Ok(meta) = fs::metadata(root) else {
        return vec![Finding::warn(CHECK, format!("{} does not exist", root.display()), "nephkeep up")];
    };
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        let found = format!("{} belongs to uid {}, this is uid {me}", root.display(), meta.uid());
        return vec![Finding::fail(CHECK, found, "run as its owner")];
    }
    if meta.mode() & 0o022 != 0 {
        let found = format!("others may write into {}", root.display());
        return vec![Finding::fail(CHECK, found, format!("chmod go-w {}", root.display()))];
    }
    vec![Finding::ok(CHECK, root.display().to_string())]
}

pub fn disks(layout: &Layout, settings: &Settings) -> Vec<Finding> {
    let mut places = vec![layout.root().to_path_buf(), settings.objects.clone(), settings.audit_directory.clone()];
    places.extend(settings.key_directories.iter().chain(&settings.slots).cloned());
    if let Record::Local(path) = &settings.record {
        places.push(path.clone());
    }
    let mut seen = BTreeMap::new();
    for place in places.iter().map(|place| existing(place)) {
        if let Ok(meta) = fs::metadata(&place) {
            seen.entry(meta.dev()).or_insert(place);
        }
    }
    seen.into_values().map(|place| room(&place)).collect()
}

/// The place itself, or the nearest directory above it that exists.
fn existing(place: &Path) -> PathBuf {
    place.ancestors().find(|step| step.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

fn room(place: &Path) -> Finding {
    const CHECK: &str = "disk space";
    let Ok(stat) = statvfs(place) else {
        return Finding::fail(CHECK, format!("{} cannot be measured", place.display()), "look at its mount");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} MB free on {}", free >> 20, place.display());
    match free {
        free if free < ROOM_FAIL_BYTES => Finding::fail(CHECK, found, "free space: writes are refused on a full disk"),
        free if free < ROOM_WARN_BYTES => Finding::warn(CHECK, found, "free space soon"),
        _ => Finding::ok(CHECK, found),
    }
}

pub fn keystore(settings: &Settings) -> Vec<Finding> {
    let mut found =
        vec![apart("keystore directories", &settings.key_directories), apart("keystore slots", &settings.slots)];
    found.extend(settings.slots.iter().filter_map(|slot| remembers(slot)));
    let private = settings.slots.iter().chain([&settings.host_key]).filter(|path| path.exists());
    found.extend(private.filter_map(|path| exposed("keystore files", path)));
    found
}

/// Two places on one device fail together.
fn apart(check: &'static str, places: &[PathBuf]) -> Finding {
    let missing: Vec<_> =
        places.iter().filter(|place| !place.exists()).map(|place| place.display().to_string()).collect();
    if !missing.is_empty() {
        return Finding::fail(
            check,
            format!("missing: {}", missing.join(", ")),
            "mount or restore them; `nephkeep keys status` repairs what lags",
        );
    }
    let devices: std::collections::BTreeSet<_> =
        places.iter().filter_map(|place| Some(fs::metadata(place).ok()?.dev())).collect();
    if devices.len() < 2 {
        let remedy = "production wants places that do not fail together: name them in the settings";
        return Finding::warn(check, format!("{} places on one disk", places.len()), remedy);
    }
    Finding::ok(check, format!("{} places on {} disks", places.len(), devices.len()))
}

/// An erasure overwrites the slot. A file system that keeps snapshots keeps the old epoch key, and with it what was erased.
fn remembers(slot: &Path) -> Option<Finding> {
    const BTRFS: i64 = 0x9123_683E;
    const ZFS: i64 = 0x2FC1_2FC1;
    let kind = statfs(existing(slot)).ok()?.f_type;
    #[allow(clippy::useless_conversion, reason = "the type of f_type differs between platforms")]
    let name = match i64::try_from(kind).ok()? {
        BTRFS => "btrfs",
        ZFS => "ZFS",
        _ => return None,
    };
    let found = format!("{} lies on {name}, whose snapshots keep overwritten slots", slot.display());
    Some(Finding::warn(
        "keystore slots",
        found,
        "exclude the slot from snapshots, or move it to a file system without them",
    ))
}

fn exposed(check: &'static str, path: &Path) -> Option<Finding> {
    if layout::is_private(path).unwrap_or(false) {
        return None;
    }
    let found = format!("others may read {}", path.display());
    Some(Finding::fail(check, found, format!("chmod 600 {}; then `nephkeep keys rotate`", path.display())))
}

/// A kit that lies here opens everything, or nothing any more.
pub fn kit(layout: &Layout, settings: &Settings) -> Finding {
    const CHECK: &str = "recovery kit";
    let path = layout.recovery_kit();
    if !path.exists() {
        return Finding::ok(CHECK, "not on this machine");
    }
    let shown = path.display();
    match Kit::read(&path).map(|kit| kit.fits(&settings.slots)) {
        Ok(Fit::Current | Fit::Unknown) => {
            let remedy = "move it to another machine or print it, then delete it here: it opens everything";
            Finding::warn(CHECK, format!("{shown} still lies here"), remedy)
        }
        Ok(Fit::EarlierRoot) => {
            let remedy = "delete it; keep the kit that `nephkeep keys rotate-root` wrote";
            Finding::warn(CHECK, format!("{shown} is of an earlier root and opens nothing any more"), remedy)
        }
        Ok(Fit::Other(_)) => {
            let remedy = "bring it to where it belongs, and keep the kit of this keystore";
            Finding::warn(CHECK, format!("{shown} is of another keystore"), remedy)
        }
        Err(error) => Finding::error(CHECK, &error),
    }
}

/// What `up` would refuse: the log is the witness of the record, and neither may be missing beside the other.
pub fn witnesses(settings: &Settings) -> Vec<Finding> {
    const AUDIT: &str = "audit log";
    const RECORD: &str = "record directory";
    let (log, key) = (settings.audit_directory.join("checkpoint"), settings.audit_keys.join("log.key"));
    let mut found = vec![match (log.exists(), key.exists()) {
        (true, true) => Finding::ok(AUDIT, settings.audit_directory.display().to_string()),
        (false, false) => Finding::ok(AUDIT, "not begun yet"),
        (false, true) => {
            let what = format!("{} is gone, its key is there", log.display());
            Finding::fail(
                AUDIT,
                what,
                "bring the newest copy of the directory back: nephkeep explain audit-log-truncated",
            )
        }
        (true, false) => {
            let what = format!("{} is missing", key.display());
            Finding::fail(AUDIT, what, "bring it back: nephkeep explain audit-key-missing")
        }
    }];
    // Its second line counts the entries: a first start may have ended before there were any.
    let told = fs::read_to_string(&log).is_ok_and(|text| text.lines().nth(1).is_some_and(|size| size != "0"));
    if let Record::Local(record) = &settings.record {
        found.push(match (record.join("data/PG_VERSION").exists(), told) {
            (true, _) => Finding::ok(RECORD, record.display().to_string()),
            (false, false) => Finding::ok(RECORD, "not begun yet"),
            (false, true) => {
                let what = format!("{} is empty, but the audit log tells of it", record.display());
                Finding::fail(RECORD, what, "mount its disk or bring it back: nephkeep explain record-missing")
            }
        });
        if let Err(error) = Local::reachable(record) {
            found.push(Finding::error(RECORD, &error));
        }
    }
    found
}

pub fn credentials(layout: &Layout) -> Vec<Finding> {
    let mut found = Vec::new();
    let credential = layout.credential();
    found.push(match exposed("credential", &credential) {
        _ if !credential.exists() => {
            Finding::warn("credential", "there is no admin credential", "it is written by the next `nephkeep up`")
        }
        Some(exposed) => exposed,
        None => Finding::ok("credential", credential.display().to_string()),
    });
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::doctor::Grade;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn places_on_one_disk_are_warned_about_and_missing_ones_fail() {
        let directory = tempfile::tempdir().unwrap();
        let places = [directory.path().join("a"), directory.path().join("b")];
        assert_eq!(apart("x", &places).grade, Grade::Fail);
        places.iter().for_each(|place| fs::create_dir(place).unwrap());
        assert_eq!(apart("x", &places).grade, Grade::Warn);
    }

    #[test]
    fn an_open_secret_and_a_kit_at_home_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::find(Some(directory.path())).unwrap();
        layout::write_private(&layout.credential(), b"x").unwrap();
        assert!(credentials(&layout).iter().all(|finding| finding.grade == Grade::Ok));
        fs::set_permissions(layout.credential(), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(credentials(&layout)[0].grade, Grade::Fail);
        let settings = Settings::parse_default(layout.root()).unwrap();
        assert_eq!(kit(&layout, &settings).grade, Grade::Ok);
        fs::write(layout.recovery_kit(), "x").unwrap();
        assert_eq!(kit(&layout, &settings).grade, Grade::Fail, "that is no kit");
    }

    #[test]
    fn room_is_measured_where_the_place_will_be() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(&directory.path().join("not/yet")), directory.path());
        assert!(room(directory.path()).found.contains("MB free"));
    }
}
