//! A file system that loses power: everything not synced is forgotten.
//!
//! `kill -9` proves little about durability, because the operating system keeps the pages of a dead process. This file
//! system keeps two versions of everything in memory (see [`tree`] for what exactly is modelled); [`Mounted::cut`], or
//! creating `/.power-cut` in it, throws the unsynced one away and answers EIO until the power is back
//! ([`Mounted::restore`], or removing `/.power-cut`). PostgreSQL runs on it as an unprivileged user.
//!
//! Needs `/dev/fuse` and root: [`unavailable`] says what is missing. Programs that run on it use [`Disk`].

mod answers;
mod disk;
pub mod file;
pub mod tree;

pub use disk::{Disk, serve};
pub use file::{Lost, Unsynced};
pub use tree::Names;

use answers::Answers;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tree::Tree;

/// Created in the root of the file system, it cuts the power; removed, it brings the power back.
pub const CONTROL_FILE: &str = ".power-cut";

#[derive(Debug)]
struct Machine {
    tree: Tree,
    powered: bool,
    lost: Lost,
}

impl Machine {
    fn cut(&mut self, unsynced: Unsynced) -> Lost {
        self.powered = false;
        self.lost = self.tree.cut(unsynced);
        self.lost
    }
}

/// A mounted power-cut file system; dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    machine: Arc<Mutex<Machine>>,
    session: Option<BackgroundSession>,
    at: PathBuf,
}

/// Why it cannot run here, if so.
#[must_use]
pub fn unavailable() -> Option<&'static str> {
    if !Path::new("/dev/fuse").exists() {
        return Some("/dev/fuse is absent");
    }
    (!rustix::process::geteuid().is_root()).then_some("mounting a file system for another user needs root")
}

impl Mounted {
    /// Mounts on an existing empty directory.
    pub fn on(directory: &Path, names: Names) -> io::Result<Self> {
        let machine = Machine { tree: Tree::new(names), powered: true, lost: Lost::default() };
        let machine = Arc::new(Mutex::new(machine));
        let mut config = Config::default();
        let name = MountOption::FSName("nephkeep-power-cut".into());
        config.mount_options = vec![name, MountOption::DefaultPermissions, MountOption::NoAtime];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(Answers::new(machine.clone()), directory, &config)?;
        Ok(Self { machine, session: Some(session), at: directory.to_path_buf() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// From now on everything answers EIO, and what was not synced is gone.
    pub fn cut(&self, unsynced: Unsynced) -> Lost {
        self.machine.lock().cut(unsynced)
    }

    /// The power is back.
    pub fn restore(&self) {
        self.machine.lock().powered = true;
    }

    /// What the last cut threw away.
    #[must_use]
    pub fn lost(&self) -> Lost {
        self.machine.lock().lost
    }

    /// Unmounts; fails when a process still has a file open.
    pub fn unmount(mut self) -> io::Result<()> {
        self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{
        fs::{self, File, OpenOptions},
        io::{Read, Seek, SeekFrom, Write},
    };

    fn mounted() -> Option<(tempfile::TempDir, Mounted)> {
        if let Some(why) = unavailable() {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            crate::skipped::skipped(why);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mounted = Mounted::on(directory.path(), Names::WithFile).unwrap();
        Some((directory, mounted))
    }

    #[test]
    fn after_a_cut_only_synced_bytes_remain() {
        let Some((_directory, disk)) = mounted() else { return };
        let path = disk.path().join("a");
        let mut file = File::create(&path).unwrap();
        file.write_all(&[1; 10_000]).unwrap();
        file.sync_all().unwrap();
        file.seek(SeekFrom::Start(5_000)).unwrap();
        file.write_all(&[2; 10_000]).unwrap();
        File::create(disk.path().join("never-synced")).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 15_000);

        let lost = disk.cut(Unsynced::Forgotten);
        assert_eq!((lost.tail_bytes, lost.names), (5_000 + 1, 1));
        assert!(file.write_all(b"dead").is_err(), "a handle of the machine's earlier life is dead");
        assert!(fs::read(&path).is_err(), "no power, no answer");
        disk.restore();
        assert_eq!(fs::read(&path).unwrap(), [1; 10_000]);
        assert!(!disk.path().join("never-synced").exists());
        drop(file);
        disk.unmount().unwrap();
    }

    #[test]
    fn names_come_back_and_go_unless_their_directory_was_synced() {
        let Some((_directory, disk)) = mounted() else { return };
        let at = |name: &str| disk.path().join(name);
        let write = |name: &str| {
            let mut file = File::create(at(name)).unwrap();
            file.write_all(name.as_bytes()).unwrap();
            file.sync_all().unwrap();
        };
        write("kept");
        write("renamed");
        write("removed");
        fs::rename(at("renamed"), at("other")).unwrap();
        fs::remove_file(at("removed")).unwrap();
        // The control file does what `cut` does, for a process that holds no handle on this object.
        File::create(at(CONTROL_FILE)).unwrap();
        assert!(fs::read(at("kept")).is_err());
        fs::remove_file(at(CONTROL_FILE)).unwrap();
        assert_eq!(fs::read(at("renamed")).unwrap(), b"renamed");
        assert!(!at("other").exists());
        assert_eq!(fs::read(at("removed")).unwrap(), b"removed");

        fs::rename(at("renamed"), at("other")).unwrap();
        fs::remove_file(at("removed")).unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        disk.cut(Unsynced::Forgotten);
        disk.restore();
        assert_eq!(fs::read(at("other")).unwrap(), b"renamed");
        assert!(!at("renamed").exists() && !at("removed").exists());
        assert_eq!(fs::read(at("kept")).unwrap(), b"kept");
        disk.unmount().unwrap();
    }

    #[test]
    fn a_synchronous_write_needs_no_fsync_and_a_truncation_does() {
        use std::os::unix::fs::OpenOptionsExt;
        let Some((_directory, disk)) = mounted() else { return };
        let path = disk.path().join("log");
        let flags = i32::try_from(rustix::fs::OFlags::DSYNC.bits()).unwrap();
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(false).custom_flags(flags).open(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.set_len(3).unwrap();
        drop(file);
        disk.cut(Unsynced::Forgotten);
        disk.restore();
        let mut text = String::new();
        File::open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        disk.unmount().unwrap();
    }
}
