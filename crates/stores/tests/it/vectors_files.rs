//! The files of the vector index: torn, damaged, full, erased, left behind.

use crate::made::{ALL, at, basis, batch, bytes_below, change, clear, contains, expected, found, ids, open, tenant};
use model::Subject;
use std::{fs, os::unix::fs::FileExt, path::Path, sync::Arc};
use stores::{
    ChangeBatch, CopyChange, KeyRange, Projection,
    vectors::{VectorIndex, VectorSearch},
};

const HEAD: usize = 32;

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn file(root: &Path) -> std::path::PathBuf {
    root.join("generation-1.vectors")
}

/// Where frames begin, with their letters and lengths.
fn frames(bytes: &[u8]) -> Vec<(usize, u8, usize)> {
    let mut found = Vec::new();
    let mut at = bytes.windows(3).position(|window| window == b"NKV").unwrap();
    at += bytes[at + 3..].windows(3).position(|window| window == b"NKV").unwrap() + 3;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((at, bytes[at + 3], HEAD + length));
        at += HEAD + length;
    }
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn customer(name: &str) -> Subject {
    Subject::of_customer(&tenant(), name).unwrap()
}

/// Enough replaced states of one key to make the file worth rewriting.
fn churn(index: &VectorIndex, from: u64, rounds: u64) -> CopyChange {
    let seeds: Vec<u64> = (0..400).step_by(2).collect();
    let mut last = change(from, "churn", &seeds);
    for n in from..from + rounds {
        last = change(n, "churn", &seeds);
        index.apply(&batch(vec![last.clone()])).unwrap();
    }
    last
}

#[test]
fn half_a_frame_at_the_end_is_cut_off_and_the_next_change_follows_the_last_whole_one() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    open(root.path()).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let whole = fs::read(&path).unwrap();
    open(root.path()).apply(&batch(vec![change(2, "b", &[2])])).unwrap();
    let after = fs::read(&path).unwrap();
    for length in (whole.len() + 1..after.len()).step_by(7) {
        // Cut off, and as a power cut leaves a file whose length came before its bytes.
        for zeros in [0, 700] {
            fs::write(&path, [&after[..length], &vec![0; zeros]].concat()).unwrap();
            let index = open(root.path());
            assert!(index.position().is_some_and(|position| position.n >= 1), "{length}");
            assert_eq!(index.stats().damaged, 0, "{length} and {zeros} zeros");
            assert!(ids(&found(&index, 1, &ALL, false)).contains(&"a".to_owned()), "{length}");
            index.apply(&batch(vec![change(2, "b", &[2])])).unwrap();
            assert_eq!(open(root.path()).entries(KeyRange::ALL).unwrap().len(), 2, "{length}");
        }
    }
}

/// Every byte of the frame in the middle, its length included: counted, and no other key suffers.
#[test]
fn a_flipped_byte_anywhere_in_a_frame_is_counted_and_its_key_missing_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let changes = vec![change(1, "aaaa", &[1]), change(2, "bbbb", &[2]), change(3, "cccc", &[3])];
    open(root.path()).apply(&batch(changes.clone())).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (from, letter, length) = frames(&bytes)[1];
    assert_eq!(letter, b'K');
    for offset in (0..HEAD).chain((HEAD..length).step_by(9)) {
        fs::write(&path, &bytes).unwrap();
        flip(&path, from + offset);
        let index = open(root.path());
        assert_eq!(index.stats().damaged, 1, "byte {offset}");
        assert_eq!(
            index.entries(KeyRange::ALL).unwrap(),
            expected(&[changes[0].clone(), changes[2].clone()]),
            "byte {offset}"
        );
        assert_eq!(index.position(), Some(at(3)), "byte {offset}");
        // Applied again, as a repair does: it is whole.
        index.apply(&batch(changes.clone())).unwrap();
        assert_eq!((index.stats().damaged, index.entries(KeyRange::ALL).unwrap()), (0, expected(&changes)));
        assert_eq!(open(root.path()).stats().damaged, 0, "byte {offset}");
    }
}

#[test]
fn a_damaged_newer_state_does_not_bring_the_older_one_back() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1]), change(2, "b", &[2])])).unwrap();
    index.apply(&batch(vec![change(3, "a", &[3])])).unwrap();
    index.apply(&batch(vec![change(4, "c", &[4])])).unwrap();
    let newer = frames(&fs::read(&path).unwrap())[3];
    assert_eq!(newer.1, b'K');
    drop(index);
    for offset in [5, 10, HEAD + 3, newer.2 - 1] {
        flip(&path, newer.0 + offset);
        let index = open(root.path());
        let expected = expected(&[change(2, "b", &[2]), change(4, "c", &[4])]);
        assert_eq!((index.entries(KeyRange::ALL).unwrap(), index.stats().damaged), (expected, 1), "byte {offset}");
        flip(&path, newer.0 + offset);
    }
}

#[test]
fn damage_is_still_counted_after_the_file_was_written_anew_and_no_copy_of_it_is_made() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    open(root.path()).apply(&batch(vec![change(1, "a", &[1]), change(2, "b", &[2]), change(3, "c", &[3])])).unwrap();
    let bytes = fs::read(&path).unwrap();
    let frames = frames(&bytes);
    flip(&path, frames[0].0 + HEAD + 70);
    let index = open(root.path());
    // Another one while it is open: found when the file is written anew.
    let damaged = fs::OpenOptions::new().write(true).open(&path).unwrap();
    damaged.write_all_at(&[!bytes[frames[1].0 + 150]], (frames[1].0 + 150) as u64).unwrap();
    let last = churn(&index, 10, 50);
    assert!(index.stats().disk_bytes < 2 << 20, "it was not written anew: {}", index.stats().disk_bytes);
    for index in [&index, &open(root.path())] {
        assert_eq!(index.stats().damaged, 2);
        assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[change(3, "c", &[3]), last.clone()]));
    }
    index.apply(&batch(vec![change(200, "a", &[1]), change(201, "b", &[])])).unwrap();
    assert_eq!((index.stats().damaged, open(root.path()).stats().damaged), (0, 0));
}

#[test]
fn a_vector_that_does_not_open_is_passed_over_and_counted() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1]), change(2, "b", &[2])])).unwrap();
    let bytes = fs::read(&path).unwrap();
    let (from, _, length) = frames(&bytes)[0];
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[!bytes[from + length - 20]], (from + length - 20) as u64).unwrap();
    assert_eq!(ids(&found(&index, 1, &ALL, false)), ["b"]);
    assert_eq!(index.stats().damaged, 1);
    // The same change again mends it.
    index.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    assert_eq!((index.stats().damaged, ids(&found(&index, 1, &ALL, false))[0].as_str()), (0, "a"));
}

#[test]
fn the_same_batch_again_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    let same = batch(vec![change(1, "a", &[1, 2]), change(2, "b", &[2]), change(3, "c", &[])]);
    index.apply(&same).unwrap();
    let size = fs::metadata(file(root.path())).unwrap().len();
    index.apply(&same).unwrap();
    index.apply(&ChangeBatch { through: at(2), changes: vec![change(2, "b", &[2])] }).unwrap();
    assert_eq!(fs::metadata(file(root.path())).unwrap().len(), size);
    assert_eq!(index.position(), Some(at(3)));
}

#[test]
fn positions_alone_do_not_fill_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    // Nearly enough dead states for a rewriting; positions make up the rest.
    churn(&index, 2, 18);
    index.apply(&batch(vec![change(60, "churn", &[])])).unwrap();
    assert!(index.stats().disk_bytes > 900_000);
    for n in 100..600 {
        index.apply(&ChangeBatch { through: at(n), changes: Vec::new() }).unwrap();
    }
    assert!(index.stats().disk_bytes < 100_000, "{}", index.stats().disk_bytes);
    assert_eq!(open(root.path()).position(), Some(at(599)));
}

/// A directory stands where the new file would be written: as a full disk, it fails every time.
#[test]
fn a_rewriting_that_fails_fails_no_batch() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    fs::create_dir(root.path().join("generation-1.compacting")).unwrap();
    let last = churn(&index, 1, 45);
    assert!(index.stats().disk_bytes > 2 << 20);
    assert_eq!(open(root.path()).entries(KeyRange::ALL).unwrap(), expected(&[last]));
    fs::remove_dir(root.path().join("generation-1.compacting")).unwrap();
    let last = churn(&index, 200, 30);
    assert!(index.stats().disk_bytes < 2 << 20);
    assert_eq!(names(root.path()), ["current", "generation-1.vectors"]);
    assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[last]));
}

#[test]
fn rebuilds_that_come_to_nothing_leave_no_file() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    for _ in 0..3 {
        let fresh = index.begin().unwrap();
        fresh.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    }
    assert_eq!(names(root.path()), ["current", "generation-1.vectors"]);
    // Of a process that was killed: the next rebuild removes them, and takes nobody's place.
    for left in ["generation-2.vectors", "generation-7.vectors", "generation-1.compacting"] {
        fs::write(root.path().join(left), b"left").unwrap();
    }
    let fresh = index.begin().unwrap();
    assert_eq!(names(root.path()), ["current", "generation-1.vectors", "generation-2.vectors"]);
    // Its number given again: the one before takes only its own file along.
    let again = index.begin().unwrap();
    drop(fresh);
    again.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    again.adopt().unwrap();
    drop((index, again));
    assert_eq!(open(root.path()).stats().vectors, 1);
}

#[test]
fn an_erased_subject_is_in_no_answer_and_in_no_file() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index
        .apply(&batch(vec![change(1, "a", &[1]), change(2, "b-of-even", &[2]), change(4, "d-of-even", &[4])]))
        .unwrap();
    // Replaced, and another removed: their frames are dead, and still in the file.
    index.apply(&batch(vec![change(6, "b-of-even", &[6])])).unwrap();
    index.apply(&batch(vec![change(8, "e-of-even", &[8])])).unwrap();
    index.apply(&batch(vec![change(10, "e-of-even", &[])])).unwrap();
    // What a rebuild and a rewriting that were killed have left has the subject too.
    for left in ["generation-2.vectors", "generation-1.compacting"] {
        fs::copy(file(root.path()), root.path().join(left)).unwrap();
    }
    let size = fs::metadata(file(root.path())).unwrap().len();
    assert_eq!(index.erase(&customer("even")).unwrap(), 2);
    assert!(!contains(&bytes_below(root.path()), b"even"), "the subject is still in a file");
    assert_eq!(fs::metadata(file(root.path())).unwrap().len(), size, "overwritten in place, not written anew");
    for index in [&index, &open(root.path())] {
        assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[change(1, "a", &[1])]));
        assert_eq!((index.position(), index.stats().damaged), (Some(at(10)), 0));
    }
    assert_eq!(index.erase(&customer("even")).unwrap(), 0);
}

/// The older state of a key belonged to another subject: an erasure of the newer one does not bring it back.
#[test]
fn an_erasure_brings_no_older_state_back_and_takes_damage_along() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1]), change(4, "dddd", &[4]), change(5, "e", &[5])])).unwrap();
    index.apply(&batch(vec![change(6, "a", &[6])])).unwrap();
    drop(index);
    let bytes = fs::read(&path).unwrap();
    flip(&path, frames(&bytes)[1].0 + HEAD + 5);
    let index = open(root.path());
    assert_eq!(index.erase(&customer("even")).unwrap(), 1);
    assert!(!contains(&fs::read(&path).unwrap(), b"dddd"), "damage may be of the subject");
    for index in [&index, &open(root.path())] {
        assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[change(5, "e", &[5])]));
        assert_eq!(index.stats().damaged, 1, "it is still known that a key is missing");
    }
}

/// Each erasure overwrites the damage that it finds, and says of it what it takes away: no more, and no less.
#[test]
fn damage_of_which_no_key_is_known_is_counted_once_however_often_something_is_erased() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let changes = [change(1, "a", &[1]), change(3, "c", &[3]), change(5, "e", &[5]), change(7, "g", &[7])];
    open(root.path()).apply(&batch(changes.to_vec())).unwrap();
    let frames = frames(&fs::read(&path).unwrap());
    for (damaged, nameless) in [true, false, true].into_iter().enumerate() {
        let (from, _, length) = frames[damaged];
        if nameless {
            let mut bytes = fs::read(&path).unwrap();
            bytes[from..from + length].fill(0xff);
            fs::write(&path, bytes).unwrap();
        } else {
            flip(&path, from + HEAD + 5);
        }
        let index = open(root.path());
        index.erase(&customer("even")).unwrap();
        for index in [&index, &open(root.path())] {
            assert_eq!(index.stats().damaged, damaged + 1);
        }
    }
    assert_eq!(open(root.path()).entries(KeyRange::ALL).unwrap(), expected(&changes[3..]));
}

#[test]
fn an_erasure_that_a_power_cut_came_between_is_ended_at_the_next_opening() {
    let root = tempfile::tempdir().unwrap();
    let path = file(root.path());
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1]), change(2, "b-of-even", &[2])])).unwrap();
    let before = fs::read(&path).unwrap();
    let (from, _, length) = frames(&before)[1];
    index.erase(&customer("even")).unwrap();
    drop(index);
    let after = fs::read(&path).unwrap();
    // The head is on the disk, the rest is not.
    let torn = [&after[..from + HEAD], &before[from + HEAD..from + length], &after[from + length..]].concat();
    fs::write(&path, torn).unwrap();
    assert_eq!(open(root.path()).entries(KeyRange::ALL).unwrap(), expected(&[change(1, "a", &[1])]));
    assert!(!contains(&fs::read(&path).unwrap(), b"even"));
}

#[test]
fn no_vector_and_no_name_of_a_source_lies_in_clear() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch((1..20).map(|n| change(n, &format!("d{n}"), &[n, n + 1])).collect())).unwrap();
    let last = churn(&index, 30, 40);
    let files = bytes_below(root.path());
    for seed in (1..20).chain([398]) {
        assert!(!contains(&files, &clear(seed)[..16]), "vector {seed}");
    }
    // A name of four bytes is no chance hit in a file of this size only if it is told apart by what is before it.
    assert!(!contains(&files, b"\x04\x00even\x04\x00") && !contains(&files, b"\x03\x00odd\x01"));
    assert_eq!(open(root.path()).stats().vectors, 38 + last.objects.len());
}

#[test]
fn what_names_the_current_index_is_told_apart_when_it_is_missing_damaged_or_cannot_be_read() {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let pointer = root.path().join("current");
    let opened = || VectorIndex::open(root.path(), &basis()).map(|index| index.stats().vectors).map_err(|e| e.code());
    for damage in [Some("what?\n".as_bytes()), Some(&[0xff, 0xfe]), None] {
        match damage {
            Some(bytes) => fs::write(&pointer, bytes).unwrap(),
            None => fs::remove_file(&pointer).unwrap(),
        }
        assert_eq!(opened(), Err("vectors-damaged"));
        assert!(file(root.path()).exists());
    }
    // As an error of the disk, which may pass.
    fs::create_dir(&pointer).unwrap();
    assert_eq!(opened(), Err("vectors-unusable"));
    fs::remove_dir(&pointer).unwrap();
    fs::write(&pointer, "1\n").unwrap();
    assert_eq!(opened(), Ok(1));
}

/// Searches while batches are written see one whole state or the next.
#[test]
fn a_search_while_it_is_written_to_sees_whole_documents() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1, 2, 3])])).unwrap();
    let writer = Arc::clone(&index);
    let written = std::thread::spawn(move || {
        for n in 2..200 {
            writer.apply(&batch(vec![change(n, "a", &[1, 2, 3])])).unwrap();
        }
    });
    while !written.is_finished() {
        let hits = found(&index, 1, &ALL, false);
        assert_eq!(hits.len(), 3);
        assert!(hits.iter().all(|hit| hit.version == hits[0].version));
    }
    written.join().unwrap();
}
