//! The index as a server starts with it: opened later, unavailable for a while, or never to be opened again.

use crate::made::{ALL, DIMENSIONS, basis, basis_of, batch, change, expected, open, tenant, vector};
use model::Subject;
use std::{fs, sync::Arc};
use stores::{
    KeyRange, Projection,
    vectors::{EF, Search, VectorCopy, VectorSearch},
};

fn searched(copy: &Arc<VectorCopy>) -> Result<usize, &'static str> {
    let search = Search { vector: &vector(1), limit: 10, rescore: 50, ef: EF, filter: &ALL };
    copy.search(&tenant(), &search).map(|hits| hits.len()).map_err(|error| error.code())
}

#[test]
fn an_index_in_an_unusable_directory_is_unavailable_with_its_reason_and_tried_again() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("vectors");
    open(&place).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let aside = root.path().join("aside");
    fs::rename(&place, &aside).unwrap();
    fs::write(&place, b"no directory").unwrap();
    let copy = VectorCopy::new(&place, basis());
    for _ in 0..2 {
        let error = copy.ready().unwrap_err();
        assert_eq!(error.code(), "vectors-unusable");
        assert!(error.to_string().contains("vectors"), "{error}");
    }
    assert_eq!(searched(&copy), Err("copy-unavailable"));
    assert_eq!(copy.apply(&batch(vec![change(2, "b", &[2])])).unwrap_err().code(), "copy-unavailable");
    assert_eq!(copy.erase(&Subject::of_tenant(&tenant())).unwrap_err().code(), "vectors-unusable");
    fs::remove_file(&place).unwrap();
    fs::rename(&aside, &place).unwrap();
    copy.ready().unwrap();
    assert_eq!((searched(&copy), copy.generation()), (Ok(1), 1));
    assert_eq!(copy.entries(KeyRange::ALL).unwrap(), expected(&[change(1, "a", &[1])]));
}

#[test]
fn a_damaged_index_and_another_models_stay_until_the_next_generation_is_adopted() {
    for other in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("generation-1.vectors");
        open(root.path()).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        if !other {
            bytes[9] ^= 1;
            fs::write(&file, &bytes).unwrap();
        }
        let copy = VectorCopy::new(root.path(), basis_of(if other { "other" } else { "test-64" }));
        copy.ready().unwrap();
        assert_eq!((copy.position(), searched(&copy)), (None, Err("copy-loading")));
        drop(copy.begin().unwrap());
        assert_eq!(fs::read(&file).unwrap(), bytes);
        let fresh = copy.begin().unwrap();
        fresh.adopt().unwrap();
        assert!(!file.exists());
        let again = VectorCopy::new(root.path(), basis_of(if other { "other" } else { "test-64" }));
        again.ready().unwrap();
        assert_eq!((again.generation(), again.stats().dimensions), (2, DIMENSIONS));
    }
}

#[test]
fn a_search_waits_for_an_index_that_is_being_opened() {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let copy = VectorCopy::new(root.path(), basis());
    let asked = Arc::clone(&copy);
    let answer = std::thread::spawn(move || searched(&asked));
    copy.ready().unwrap();
    assert_eq!(answer.join().unwrap(), Ok(1));
}

#[test]
fn an_erasure_takes_along_what_can_never_be_opened() {
    let root = tempfile::tempdir().unwrap();
    open(root.path()).apply(&batch(vec![change(2, "a", &[2])])).unwrap();
    let file = root.path().join("generation-1.vectors");
    let mut bytes = fs::read(&file).unwrap();
    bytes[9] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let copy = VectorCopy::new(root.path(), basis());
    copy.erase(&Subject::of_customer(&tenant(), "even").unwrap()).unwrap();
    assert!(!file.exists());
}
