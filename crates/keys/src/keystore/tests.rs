#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{DirectoryHealth, SlotHealth, generation, steps::Step, tree::BLOCK_KEYS};
use model::{ResourceKey, Tenant};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use tempfile::TempDir;

const TEXT: &[u8] = br#"{"@type":"Intent","name":"low latency slice for the harbour"}"#;

struct Room {
    settings: Settings,
    _root: TempDir,
}

fn room() -> Room {
    let root = tempfile::tempdir().unwrap();
    Room { settings: Settings::under(root.path()), _root: root }
}

fn created() -> (Room, Keystore) {
    let room = room();
    let (keystore, _) = Keystore::create(&room.settings).unwrap();
    (room, keystore)
}

fn resource(id: &str) -> ResourceKey {
    ResourceKey::new(&Tenant::new("acme").unwrap(), Kind::Intent, id).unwrap()
}

fn seal(keystore: &Keystore, key: KeyId, id: &str) -> Bytes {
    let resource = resource(id);
    let bound = Bound { dataset: "record", key: &resource, version: 1 };
    keystore.seal(key, Class::Confidential, bound, TEXT).unwrap().envelope
}

fn open(keystore: &Keystore, id: &str, envelope: &[u8]) -> Result<Opened> {
    let resource = resource(id);
    keystore.open_envelope(Bound { dataset: "record", key: &resource, version: 1 }, envelope)
}

fn clear() -> Opened {
    Opened::Clear(Bytes::from_static(TEXT))
}

#[test]
fn what_is_sealed_opens_again_also_after_a_restart() {
    let (room, keystore) = created();
    let key = keystore.take_key().unwrap();
    let envelope = seal(&keystore, key, "a");
    assert_eq!(open(&keystore, "a", &envelope).unwrap(), clear());
    let tag = keystore.content_tag(key, Kind::Intent, "a", 1, TEXT).unwrap();
    let name = keystore.blind(key, "name", b"x").unwrap();
    drop(keystore);
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &envelope).unwrap(), clear());
    assert_eq!(again.content_tag(key, Kind::Intent, "a", 1, TEXT).unwrap(), tag);
    assert_eq!(again.blind(key, "name", b"x").unwrap(), name);
    assert!(again.status().unwrap().is_healthy());
}

#[test]
fn an_envelope_opens_only_where_it_belongs() {
    let (_room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    assert_eq!(open(&keystore, "b", &envelope).unwrap_err().code(), "envelope-altered");
    let resource = resource("a");
    for (dataset, version) in [("archive", 1), ("record", 2)] {
        let refused = keystore.open_envelope(Bound { dataset, key: &resource, version }, &envelope).unwrap_err();
        assert_eq!(refused.kind(), model::ErrorKind::Corrupt);
    }
}

#[test]
fn a_flip_of_any_bit_of_an_envelope_is_noticed() {
    let (_room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    for at in 0..envelope.len() {
        for bit in 0..8 {
            let mut flipped = envelope.to_vec();
            flipped[at] ^= 1 << bit;
            assert!(open(&keystore, "a", &flipped).is_err(), "byte {at} bit {bit}");
        }
        assert!(open(&keystore, "a", &envelope[..at]).is_err());
    }
}

#[test]
fn key_ids_are_never_handed_out_twice_and_the_rest_of_a_block_is_abandoned() {
    let (room, keystore) = created();
    let mut taken: Vec<KeyId> = (0..BLOCK_KEYS + 10).map(|_| keystore.take_key().unwrap()).collect();
    drop(keystore);
    let again = Keystore::open(&room.settings).unwrap();
    let next = again.take_key().unwrap();
    assert!(next.0.is_multiple_of(BLOCK_KEYS) && next > *taken.last().unwrap());
    taken.push(next);
    assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn many_threads_take_distinct_keys() {
    let (_room, keystore) = created();
    let taken: Vec<Vec<KeyId>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..1500).map(|_| keystore.take_key().unwrap()).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut all: Vec<KeyId> = taken.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6000);
}

#[test]
fn a_destroyed_key_is_erased_everywhere_and_its_neighbours_stay() {
    let (room, keystore) = created();
    let (doomed, kept) = (keystore.take_key().unwrap(), keystore.take_key().unwrap());
    let (lost, stays) = (seal(&keystore, doomed, "a"), seal(&keystore, kept, "b"));
    let epoch = keystore.epoch();
    assert!(keystore.destroy(&[doomed]).unwrap().is_complete());
    assert_eq!(keystore.epoch(), epoch + 1);
    let check = |keystore: &Keystore| {
        assert_eq!(open(keystore, "a", &lost).unwrap(), Opened::Erased);
        assert_eq!(open(keystore, "b", &stays).unwrap(), clear());
        assert!(keystore.is_destroyed(doomed).unwrap());
        let refused = keystore.content_tag(doomed, Kind::Intent, "a", 1, TEXT).unwrap_err();
        assert_eq!(refused.code(), "key-destroyed");
    };
    check(&keystore);
    // Once more changes nothing.
    let generation = keystore.generation();
    assert!(keystore.destroy(&[doomed]).unwrap().is_complete());
    assert_eq!(keystore.generation(), generation);
    drop(keystore);
    check(&Keystore::open(&room.settings).unwrap());
}

#[test]
fn a_key_destroyed_before_it_was_handed_out_is_skipped() {
    let (_room, keystore) = created();
    let first = keystore.take_key().unwrap();
    assert!(keystore.destroy(&[KeyId(first.0 + 1)]).unwrap().is_complete());
    assert_eq!(keystore.take_key().unwrap(), KeyId(first.0 + 2));
}

#[test]
fn an_unknown_key_is_corrupt_not_erased() {
    let (_room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    for id in [0u64, 17, u64::MAX] {
        let mut other = envelope.to_vec();
        other[6..14].copy_from_slice(&id.to_be_bytes());
        assert_eq!(open(&keystore, "a", &other).unwrap_err().code(), "key-unknown");
        assert_eq!(keystore.destroy(&[KeyId(id)]).unwrap_err().code(), "key-unknown");
    }
}

#[test]
fn a_rotated_key_seals_anew_and_opens_the_old_and_a_retired_one_only_opens() {
    let (room, keystore) = created();
    let key = keystore.take_key().unwrap();
    let old = seal(&keystore, key, "a");
    let tag = keystore.content_tag(key, Kind::Intent, "a", 1, TEXT).unwrap();
    assert_eq!(keystore.rotate_key(key).unwrap(), 2);
    assert_eq!(keystore.rotate_key(key).unwrap(), 3);
    let new = seal(&keystore, key, "b");
    assert_eq!(Header::read(&new).unwrap().key_version, 3);
    keystore.retire(key).unwrap();
    drop(keystore);
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!((open(&again, "a", &old).unwrap(), open(&again, "b", &new).unwrap()), (clear(), clear()));
    assert_eq!(again.content_tag(key, Kind::Intent, "a", 1, TEXT).unwrap(), tag);
    let resource = resource("c");
    let bound = Bound { dataset: "record", key: &resource, version: 1 };
    assert_eq!(again.seal(key, Class::Internal, bound, TEXT).unwrap_err().code(), "key-retired");
    let status = again.status().unwrap();
    assert_eq!((status.keys_retired, status.keys_rotated, status.later_versions), (1, 1, 2));
    // Destroying it takes every version.
    assert!(again.destroy(&[key]).unwrap().is_complete());
    assert_eq!(open(&again, "b", &new).unwrap(), Opened::Erased);
}

#[test]
fn a_second_process_sees_new_blocks_by_itself_and_erasures_after_a_refresh() {
    let (room, first) = created();
    let second = Keystore::open(&room.settings).unwrap();
    let key = first.take_key().unwrap();
    let envelope = seal(&first, key, "a");
    assert_eq!(open(&second, "a", &envelope).unwrap(), clear());
    first.rotate_key(key).unwrap();
    assert_eq!(open(&second, "b", &seal(&first, key, "b")).unwrap(), clear());
    assert_ne!(second.take_key().unwrap().0 / BLOCK_KEYS, key.0 / BLOCK_KEYS);
    assert!(first.destroy(&[key]).unwrap().is_complete());
    second.refresh().unwrap();
    assert_eq!(open(&second, "a", &envelope).unwrap(), Opened::Erased);
}

/// Stops an erasure at every step as a crash would; afterwards the old or the new state opens, never neither, and
/// repeating the erasure completes it.
#[test]
fn an_erasure_cut_off_at_any_step_leaves_old_or_new_and_resumes() {
    let steps = [
        (Step::Directory(0), false),
        (Step::Directory(1), false),
        (Step::BeforeSlot(0), false),
        (Step::Slot(0), true),
        (Step::BeforeSlot(1), true),
        (Step::Slot(1), true),
    ];
    for (step, erased) in steps {
        let (room, keystore) = created();
        let (doomed, kept) = (keystore.take_key().unwrap(), keystore.take_key().unwrap());
        let (lost, stays) = (seal(&keystore, doomed, "a"), seal(&keystore, kept, "b"));
        keystore.steps().stop_at(Some(step));
        assert!(catch_unwind(AssertUnwindSafe(|| keystore.destroy(&[doomed]))).is_err(), "{step:?}");
        drop(keystore);
        let again = Keystore::open(&room.settings).unwrap();
        assert_eq!(open(&again, "a", &lost).unwrap() == Opened::Erased, erased, "{step:?}");
        assert_eq!(open(&again, "b", &stays).unwrap(), clear());
        assert!(again.status().unwrap().is_healthy(), "{step:?}");
        assert!(again.destroy(&[doomed]).unwrap().is_complete());
        assert_eq!(open(&again, "a", &lost).unwrap(), Opened::Erased);
        let next = again.take_key().unwrap();
        assert!(next > kept);
    }
}

#[test]
fn a_slot_torn_while_it_was_overwritten_does_not_close_the_keystore() {
    let (room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    keystore.steps().stop_at(Some(Step::BeforeSlot(0)));
    assert!(catch_unwind(AssertUnwindSafe(|| keystore.rotate_epoch())).is_err());
    drop(keystore);
    let mut torn = fs::read(&room.settings.slots[0]).unwrap();
    torn[100..300].fill(0xAA);
    fs::write(&room.settings.slots[0], torn).unwrap();
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &envelope).unwrap(), clear());
    assert!(again.status().unwrap().is_healthy());
}

#[test]
fn a_slot_that_lags_is_named_and_settled_later() {
    let (room, keystore) = created();
    let doomed = keystore.take_key().unwrap();
    let lost = seal(&keystore, doomed, "a");
    let slot = &room.settings.slots[1];
    let aside = slot.with_extension("aside");
    fs::rename(slot, &aside).unwrap();
    fs::create_dir(slot).unwrap();
    let Destroyed::Incomplete { failed, .. } = keystore.destroy(&[doomed]).unwrap() else { panic!("complete") };
    assert_eq!(failed.iter().map(|failure| failure.path.as_path()).collect::<Vec<_>>(), [slot.as_path()]);
    assert_eq!(open(&keystore, "a", &lost).unwrap(), Opened::Erased);
    // The old slot comes back, with the old epoch: it is overwritten, not followed.
    fs::remove_dir(slot).unwrap();
    fs::rename(&aside, slot).unwrap();
    assert_eq!(keystore.status().unwrap().slots[1].health, SlotHealth::Behind { epoch: 1 });
    assert!(keystore.settle().unwrap().is_complete());
    drop(keystore);
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &lost).unwrap(), Opened::Erased);
}

#[test]
fn an_older_epoch_is_refused_when_a_newer_one_may_exist() {
    let (room, keystore) = created();
    let doomed = keystore.take_key().unwrap();
    let old_slot = fs::read(&room.settings.slots[0]).unwrap();
    assert!(keystore.destroy(&[doomed]).unwrap().is_complete());
    drop(keystore);
    // Somebody brings an old slot back while the other is not mounted.
    fs::write(&room.settings.slots[0], old_slot).unwrap();
    fs::remove_file(&room.settings.slots[1]).unwrap();
    assert_eq!(Keystore::open(&room.settings).unwrap_err().code(), "keystore-epoch-ahead");
}

#[test]
fn a_lost_directory_and_a_lost_slot_are_rebuilt_from_the_others() {
    let (room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    drop(keystore);
    for entry in fs::read_dir(&room.settings.directories[0]).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::remove_file(&room.settings.slots[0]).unwrap();
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &envelope).unwrap(), clear());
    assert!(again.status().unwrap().is_healthy());
}

#[test]
fn a_directory_that_is_away_allows_reading_and_refuses_new_blocks() {
    let (room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    drop(keystore);
    let away = room.settings.directories[1].with_extension("away");
    fs::rename(&room.settings.directories[1], &away).unwrap();
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &envelope).unwrap(), clear());
    assert_eq!(again.status().unwrap().directories[1].health, DirectoryHealth::Unreachable);
    assert_eq!(again.take_key().unwrap_err().code(), "keystore-unreadable");
    fs::rename(&away, &room.settings.directories[1]).unwrap();
    until_it_works(&again);
    again.take_key().unwrap();
    assert!(again.status().unwrap().is_healthy());
}

fn until_it_works(keystore: &Keystore) {
    while keystore.failing().is_some() {
        keystore.probe();
        std::thread::yield_now();
    }
}

fn newest_file(directory: &Path) -> std::path::PathBuf {
    let names = crate::files::names(directory).unwrap();
    let number = names.iter().filter_map(|name| generation::number_of(name)).max().unwrap();
    directory.join(generation::file_name(number))
}

#[test]
fn a_damaged_generation_is_read_from_the_other_directory_and_repaired() {
    let (room, keystore) = created();
    let envelope = seal(&keystore, keystore.take_key().unwrap(), "a");
    drop(keystore);
    let path = newest_file(&room.settings.directories[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(open(&again, "a", &envelope).unwrap(), clear());
    assert_eq!(fs::read(&path).unwrap(), fs::read(newest_file(&room.settings.directories[1])).unwrap());
}

#[test]
fn a_keystore_is_not_rolled_back_nor_confused_with_another() {
    let (room, keystore) = created();
    keystore.take_key().unwrap();
    let (id, generation) = (keystore.id(), keystore.generation());
    drop(keystore);
    let open = |keystore, min_generation| {
        Keystore::open_expecting(&room.settings, Expect { keystore, min_generation }).map(|keystore| keystore.id())
    };
    assert_eq!(open(Some(id), generation).unwrap(), id);
    assert_eq!(open(Some(id), generation + 1).unwrap_err().code(), "keystore-too-old");
    assert_eq!(open(Some([0; 16]), 0).unwrap_err().code(), "keystore-other");
    let (other, _) = created();
    let mixed = Settings { slots: other.settings.slots.clone(), ..room.settings.clone() };
    assert_eq!(Keystore::open(&mixed).unwrap_err().code(), "keystore-mixed");
    let mixed = Settings { host_key: other.settings.host_key.clone(), ..room.settings.clone() };
    assert_eq!(Keystore::open(&mixed).unwrap_err().code(), "keystore-slots-closed");
}

#[test]
fn a_second_keystore_is_not_laid_over_the_first() {
    let (room, keystore) = created();
    drop(keystore);
    assert_eq!(Keystore::create(&room.settings).unwrap_err().code(), "keystore-exists");
    Keystore::open(&room.settings).unwrap();
}

#[test]
fn open_permissions_are_refused_by_name() {
    use std::os::unix::fs::PermissionsExt;
    let (room, keystore) = created();
    drop(keystore);
    for path in [&room.settings.directories[0], &room.settings.slots[0], &room.settings.host_key] {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Keystore::open(&room.settings).unwrap_err();
        assert_eq!(refused.code(), "keystore-permissions");
        assert_eq!(refused.fact("path"), Some(path.display().to_string().as_str()));
        fs::set_permissions(path, before).unwrap();
    }
    Keystore::open(&room.settings).unwrap();
}

#[test]
fn superseded_generations_are_few_and_temporary_files_go() {
    let (room, keystore) = created();
    let left = room.settings.directories[0].join("generation-000000000009.keystore.temporary");
    fs::write(&left, b"half").unwrap();
    for _ in 0..30 {
        assert!(keystore.rotate_epoch().unwrap().is_complete());
    }
    assert!(!left.exists());
    for directory in &room.settings.directories {
        let generations = crate::files::names(directory).unwrap();
        assert_eq!(generations.iter().filter(|name| generation::number_of(name).is_some()).count(), 16);
    }
}

#[test]
fn nothing_printed_holds_a_key() {
    let (_room, keystore) = created();
    let key = keystore.take_key().unwrap();
    seal(&keystore, key, "a");
    let printed = format!("{keystore:?}");
    assert!(printed.contains("Secret(..)") && !printed.contains("Secret(["));
    assert_eq!(format!("{:?}", clear()), format!("Clear({} bytes)", TEXT.len()));
}

/// Every copy of one kind of file flipped or cut: refused as corrupt, with a code, and nothing is written over.
#[test]
fn files_damaged_in_every_copy_are_corrupt_and_named() {
    let (room, keystore) = created();
    keystore.take_key().unwrap();
    drop(keystore);
    let generations: Vec<_> = room.settings.directories.iter().map(|directory| newest_file(directory)).collect();
    let cases = [
        (generations, "keystore-generation-missing"),
        (room.settings.slots.clone(), "keystore-slots-missing"),
        (vec![room.settings.host_key.clone()], "keystore-file-damaged"),
    ];
    for (paths, code) in cases {
        let whole: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        for damage in [|bytes: &mut Vec<u8>| bytes[20] ^= 4, |bytes: &mut Vec<u8>| bytes.truncate(33)] {
            for (path, bytes) in paths.iter().zip(&whole) {
                let mut bytes = bytes.clone();
                damage(&mut bytes);
                fs::write(path, bytes).unwrap();
            }
            let refused = Keystore::open(&room.settings).unwrap_err();
            assert_eq!((refused.kind(), refused.code()), (model::ErrorKind::Corrupt, code));
        }
        paths.iter().zip(&whole).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }
    Keystore::open(&room.settings).unwrap();
}

/// Root ignores modes: a file in the place of the temporary one, which cannot be removed, stands for a disk that takes
/// nothing.
#[test]
fn a_directory_that_takes_nothing_is_told_until_it_does_and_the_others_do_not_grow() {
    let (room, keystore) = created();
    let directory = &room.settings.directories[1];
    let blocked: Vec<_> = (1..9)
        .map(|number| directory.join(generation::file_name(number) + ".temporary"))
        .inspect(|path| fs::create_dir_all(path.join("not-empty")).unwrap())
        .collect();
    assert_eq!(keystore.durable_generation(), 1);
    assert!(keystore.failing().is_none());
    for _ in 0..3 {
        assert_eq!(keystore.take_key().unwrap_err().code(), "keystore-unwritable");
        assert_eq!(keystore.rotate_epoch().unwrap_err().code(), "keystore-unwritable");
    }
    let told = keystore.failing().unwrap();
    assert_eq!((told.code(), told.kind()), ("keystore-unwritable", model::ErrorKind::Retry));
    assert!(told.fact("path").is_some_and(|path| path.contains("generation-")), "{told}");
    keystore.probe();
    assert!(keystore.failing().is_some(), "tried again too soon, or believed");
    assert_eq!(keystore.durable_generation(), 1, "what one directory lacks is not demanded of anybody");
    let grown = crate::files::names(&room.settings.directories[0]).unwrap();
    assert!(grown.iter().filter(|name| generation::number_of(name).is_some()).count() <= 3, "{grown:?}");
    drop(keystore);

    // Found at the start, it is told before anybody needs a key; the end of the cause needs nobody to write.
    let again = Keystore::open(&room.settings).unwrap();
    assert_eq!(again.failing().unwrap().code(), "keystore-unwritable");
    blocked.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
    until_it_works(&again);
    again.take_key().unwrap();
    assert_eq!(again.durable_generation(), again.generation());
}

#[test]
fn a_keystore_goes_on_without_lost_generations_and_hands_no_id_out_twice() {
    let (_room, keystore) = created();
    let (kept, doomed) = (keystore.take_key().unwrap(), keystore.take_key().unwrap());
    let (readable, erased) = (seal(&keystore, kept, "a"), seal(&keystore, doomed, "b"));
    let newest = KeyId(FIRST_KEY + 5 * BLOCK_KEYS + 3);
    let lost = Lost { generation: 40, newest_key: Some(newest), destroyed: vec![doomed] };
    assert!(keystore.go_on_without(&lost).unwrap().is_complete());
    assert_eq!((keystore.generation(), keystore.durable_generation()), (41, 41));
    assert_eq!(open(&keystore, "a", &readable).unwrap(), clear());
    assert_eq!(open(&keystore, "b", &erased).unwrap(), Opened::Erased);
    assert!(keystore.is_destroyed(newest).unwrap(), "its document is gone, not the keystore unknown to it");
    let taken: Vec<_> = (0..BLOCK_KEYS).map(|_| keystore.take_key().unwrap()).collect();
    assert!(taken.last().unwrap() > &newest);
    assert!(taken.iter().all(|key| key.0 < FIRST_KEY + BLOCK_KEYS || key > &newest), "{:?}", taken.last());
}
