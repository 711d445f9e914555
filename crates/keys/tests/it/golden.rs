//! `fixtures/keystore/v1` was written by the first release: kit, slot, generation, envelopes. It must open for ever.
//! (Its keys guard nothing. `NEPHKEEP_BLESS=1` writes a new one, for a new format only.)

use crate::{clear, open, seal};
use keys::{
    KeyId, Keystore, Kit, Opened, Settings,
    kit::{self, Sources},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/keystore/v1")
}

fn bless() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings::under(root.path());
    let (keystore, kit) = Keystore::create(&settings).unwrap();
    let taken: Vec<KeyId> = (0..3).map(|_| keystore.take_key().unwrap()).collect();
    let first = seal(&keystore, taken[0]);
    keystore.rotate_key(taken[0]).unwrap();
    let envelopes = [(taken[0], first), (taken[0], seal(&keystore, taken[0])), (taken[1], seal(&keystore, taken[1]))];
    assert!(keystore.destroy(&[taken[1]]).unwrap().is_complete());
    keystore.retire(taken[2]).unwrap();
    fs::create_dir_all(fixture()).unwrap();
    kit.write(&fixture().join("kit.txt")).unwrap();
    fs::copy(&settings.slots[0], fixture().join("epoch.slot")).unwrap();
    let name = format!("generation-{:012}.keystore", keystore.generation());
    fs::copy(settings.directories[0].join(&name), fixture().join(&name)).unwrap();
    let lines: Vec<String> =
        envelopes.iter().map(|(key, bytes)| format!("{} {}\n", key.0, hex::encode(bytes))).collect();
    fs::write(fixture().join("envelopes.txt"), lines.concat()).unwrap();
}

#[test]
fn what_the_first_release_wrote_opens() {
    if std::env::var_os("NEPHKEEP_BLESS").is_some() {
        bless();
    }
    let kit = Kit::read(&fixture().join("kit.txt")).unwrap();
    let sources = Sources { directories: vec![fixture()], slots: vec![fixture().join("epoch.slot")] };
    let root = tempfile::tempdir().unwrap();
    let keystore = kit::restore(&kit, &sources, &Settings::under(root.path()), 0).unwrap();
    let text = fs::read_to_string(fixture().join("envelopes.txt")).unwrap();
    let opened: Vec<Opened> = text
        .lines()
        .map(|line| {
            let (key, envelope) = line.split_once(' ').unwrap();
            open(&keystore, KeyId(key.parse().unwrap()), &hex::decode(envelope).unwrap()).unwrap()
        })
        .collect();
    assert_eq!(opened, [clear(), clear(), Opened::Erased]);
    let status = keystore.status().unwrap();
    assert_eq!((status.keys_retired, status.keys_rotated, status.keys_destroyed), (1, 1, 1));
}
