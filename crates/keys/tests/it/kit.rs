//! A kit of the first day, with a slot and a generation, gives a working keystore; what was erased stays erased.

use crate::{clear, open, seal};
use keys::{
    Keystore, Kit, Opened, Settings,
    kit::{self, Sources},
};
use std::{fs, path::Path};
use tempfile::{TempDir, tempdir};

struct House {
    root: TempDir,
    settings: Settings,
    keystore: Keystore,
    kit: Kit,
}

fn house() -> House {
    let root = tempdir().unwrap();
    let settings = Settings::under(&root.path().join("keys"));
    let (keystore, kit) = Keystore::create(&settings).unwrap();
    House { root, settings, keystore, kit }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

impl House {
    /// One directory, one slot: the least there is.
    fn sources(&self) -> Sources {
        Sources { directories: vec![self.settings.directories[0].clone()], slots: vec![self.settings.slots[0].clone()] }
    }
}

#[test]
fn a_kit_reads_newer_subjects_and_not_erased_ones_with_every_generation_at_hand() {
    let house = house();
    let kit = Kit::parse(&house.kit.page()).unwrap();
    let (early, doomed) = (house.keystore.take_key().unwrap(), house.keystore.take_key().unwrap());
    let (kept, lost) = (seal(&house.keystore, early), seal(&house.keystore, doomed));
    // Everything as it was before the erasure is kept aside, as backups would.
    let aside = house.root.path().join("aside");
    copy_files(&house.settings.directories[0], &aside);
    assert!(house.keystore.destroy(&[doomed]).unwrap().is_complete());
    let late = house.keystore.take_key().unwrap();
    let newer = seal(&house.keystore, late);

    let mut sources = house.sources();
    sources.directories.push(aside);
    let target = house.root.path().join("rebuilt");
    let report = kit::test(&kit, &sources, &target).unwrap();
    assert!(report.is_good());
    assert_eq!(report.generation, house.keystore.generation());
    assert_eq!(report.keys_destroyed, 1);
    assert!(report.generations_closed >= 2 && report.generations > report.generations_closed);

    let rebuilt = Keystore::open(&Settings::under(&target)).unwrap();
    assert_eq!(open(&rebuilt, early, &kept).unwrap(), clear());
    assert_eq!(open(&rebuilt, late, &newer).unwrap(), clear());
    assert_eq!(open(&rebuilt, doomed, &lost).unwrap(), Opened::Erased);
}

#[test]
fn an_erasure_that_a_slot_missed_is_reported() {
    let house = house();
    let doomed = house.keystore.take_key().unwrap();
    let old_slot = house.root.path().join("old.slot");
    fs::copy(&house.settings.slots[1], &old_slot).unwrap();
    assert!(house.keystore.destroy(&[doomed]).unwrap().is_complete());
    let mut sources = house.sources();
    sources.slots.push(old_slot);
    let report = kit::test(&house.kit, &sources, &house.root.path().join("rebuilt")).unwrap();
    assert_eq!((report.destroyed_but_readable, report.is_good()), (1, false));
}

#[test]
fn an_old_kit_with_old_generations_opens_nothing_after_a_rotation_of_the_root() {
    let house = house();
    let key = house.keystore.take_key().unwrap();
    let envelope = seal(&house.keystore, key);
    let path = house.root.path().join("new-kit.txt");
    let (new, outcome) = house.keystore.rotate_root(|kit| kit.write(&path)).unwrap();
    assert!(outcome.is_complete());
    let tried = kit::test(&house.kit, &house.sources(), &house.root.path().join("old")).unwrap_err();
    assert_eq!(tried.code(), "kit-void");
    assert_eq!(house.kit.fits(&house.settings.slots), kit::Fit::EarlierRoot);
    assert_eq!(new.fits(&house.settings.slots), kit::Fit::Current);
    assert_eq!(Kit::read(&path).unwrap(), new);
    let target = house.root.path().join("new");
    assert!(kit::test(&new, &house.sources(), &target).unwrap().is_good());
    assert_eq!(open(&house.keystore, key, &envelope).unwrap(), clear());
    assert_eq!(open(&Keystore::open(&Settings::under(&target)).unwrap(), key, &envelope).unwrap(), clear());
}

#[test]
fn a_kit_that_could_not_be_kept_changes_nothing() {
    let house = house();
    let generation = house.keystore.generation();
    let path = house.root.path().join("taken.txt");
    fs::write(&path, "mine").unwrap();
    let refused = house.keystore.rotate_root(|kit| kit.write(&path)).unwrap_err();
    assert_eq!(refused.code(), "kit-exists");
    assert_eq!(house.keystore.generation(), generation);
    assert!(kit::test(&house.kit, &house.sources(), &house.root.path().join("t")).unwrap().is_good());
}

#[test]
fn a_lost_host_key_is_replaced_with_the_kit() {
    let House { root: _root, settings, keystore, kit } = house();
    let key = keystore.take_key().unwrap();
    let envelope = seal(&keystore, key);
    drop(keystore);
    fs::remove_file(&settings.host_key).unwrap();
    assert_eq!(Keystore::open(&settings).unwrap_err().code(), "host-key-missing");
    drop(kit::recover(&kit, &settings).unwrap());
    let again = Keystore::open(&settings).unwrap();
    assert_eq!(open(&again, key, &envelope).unwrap(), clear());
    assert!(again.status().unwrap().is_healthy());
}

#[test]
fn wrong_kits_old_generations_and_occupied_targets_are_refused() {
    let (house, other) = (house(), house());
    let target = house.root.path().join("t");
    let code = |kit: &Kit, sources: &Sources| kit::test(kit, sources, &target).unwrap_err().code();
    assert_eq!(code(&other.kit, &house.sources()), "kit-other");
    let mixed = Sources { slots: other.sources().slots, ..house.sources() };
    assert_eq!(code(&house.kit, &mixed), "keystore-mixed");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("something"), "").unwrap();
    assert_eq!(code(&house.kit, &house.sources()), "kit-target-occupied");
    let settings = Settings::under(&house.root.path().join("u"));
    let demanded = house.keystore.generation() + 1;
    let refused = kit::restore(&house.kit, &house.sources(), &settings, demanded).unwrap_err();
    assert_eq!(refused.code(), "keystore-too-old");
}
