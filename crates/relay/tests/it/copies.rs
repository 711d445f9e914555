//! Copies on a real record whose engines fail by a script: nothing is lost, nobody else is held up, and what a copy
//! does not hold is named.

use crate::stand::Stand;
use ledger::Resource;
use model::{Access, Class, ErrorKind, Kind, ResourceKey, Result, Role, Subject};
use relay::{Relay, Shaper, What};
use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use stores::{
    Body, ChangeBatch, CopyChange, Object, Projection,
    embed::{Embedder, HashEmbedder},
    faulty::{Call, Fault, Faulty, Script},
    vectors::{Basis, CopyKeys, EF, Filter, Policy, RESCORE, Search, VectorIndex, VectorSearch},
};

/// Of a configuration key, one vector made of its name.
#[derive(Debug)]
struct Named;

impl Shaper for Named {
    fn kind(&self) -> Kind {
        Kind::Configuration
    }
    fn objects(&self, resource: &Resource) -> Result<Vec<Object>> {
        let model = HashEmbedder.model().into();
        let values = HashEmbedder.embed(&[&resource.key.id])?.remove(0).into();
        Ok(vec![Object { ordinal: 0, body: Body::Vector { model, source: "test".into(), values } }])
    }
}

#[derive(Debug)]
struct OneKey;

impl CopyKeys for OneKey {
    fn take(&self) -> Result<u64> {
        Ok(1)
    }
    fn derive(&self, _: u64, _: &[u8]) -> Result<[u8; 32]> {
        Ok([9; 32])
    }
}

fn index(root: &Path) -> Arc<VectorIndex> {
    let (model, dimensions) = (HashEmbedder.model().into(), HashEmbedder.dimensions());
    VectorIndex::open(root, &Basis { model, dimensions, keys: Arc::new(OneKey), policy: Policy::default() }).unwrap()
}

fn relay(stand: &Stand, copies: Vec<Arc<dyn Projection>>) -> Relay {
    let relay = Relay::new(&stand.ledger, copies.into_iter().map(|copy| (copy, Arc::new(Named) as _)).collect());
    relay.start();
    relay
}

fn faulty(root: &Path) -> (Arc<dyn Projection>, Arc<Script>) {
    let script = Arc::new(Script::default());
    (Faulty::new(index(root), &script), script)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn caught_up(stand: &Stand, relay: &Relay, copy: usize) {
    let published = stand.ledger.published().unwrap().unwrap().n;
    until("a copy does not catch up", || relay.status()[copy].position.is_some_and(|at| at.n >= published)).await;
}

#[tokio::test]
async fn a_failing_copy_goes_on_where_it_was_and_holds_nobody_up() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let (held, script) = faulty(&root.path().join("a"));
    let relay = relay(&stand, vec![held, index(&root.path().join("b"))]);
    caught_up(&stand, &relay, 0).await;
    for fault in [Fault::Reject(ErrorKind::Retry), Fault::FailAfter(ErrorKind::Retry), Fault::Hold] {
        script.add(Call::Apply, fault);
    }
    for n in 0..40 {
        stand.put(&format!("key {n}")).await;
    }
    // Held in the middle of a batch: the other copy and the writers go on.
    until("the script is not met", || script.left() == 0).await;
    stand.put("written while a copy is held").await;
    caught_up(&stand, &relay, 1).await;
    let status = &relay.status()[0];
    assert!(status.lag_changes > 0 && status.error.is_some(), "{status:?}");
    script.release();
    caught_up(&stand, &relay, 0).await;
    let verified = relay.verify("vectors").await.unwrap();
    assert_eq!((verified.differing, verified.keys), (0, 42));
    assert_eq!(relay.status()[0].error, None);
    relay.close().await;
}

#[tokio::test]
async fn a_batch_that_an_engine_dropped_is_named_and_mended() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let (held, script) = faulty(root.path());
    let relay = relay(&stand, vec![held]);
    caught_up(&stand, &relay, 0).await;
    script.add(Call::Apply, Fault::Drop);
    stand.put("dropped").await;
    until("the script is not met", || script.left() == 0).await;
    caught_up(&stand, &relay, 0).await;
    let verified = relay.verify("vectors").await.unwrap();
    let named: Vec<_> = verified.differences.iter().map(|one| (&*one.key.id, one.what)).collect();
    assert_eq!(named, [("dropped", What::Missing)]);
    let key = ResourceKey::new(&stand.access.tenant, Kind::Configuration, "dropped").unwrap();
    relay.repair("vectors", &[key]).await.unwrap();
    assert_eq!(relay.verify("vectors").await.unwrap().differing, 0);
    relay.close().await;
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_the_old_generation_and_no_file() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let (held, script) = faulty(root.path());
    let relay = relay(&stand, vec![held]);
    caught_up(&stand, &relay, 0).await;
    let (generation, files) = (relay.status()[0].generation, fs::read_dir(root.path()).unwrap().count());
    for call in [Call::Begin, Call::Apply, Call::Adopt] {
        script.add(call, Fault::Reject(ErrorKind::Retry));
        relay.rebuild("vectors").await.unwrap_err();
        assert_eq!((relay.status()[0].generation, script.left()), (generation, 0));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), files, "{call:?}");
    }
    stand.put("second").await;
    caught_up(&stand, &relay, 0).await;
    let rebuilt = relay.rebuild("vectors").await.unwrap();
    assert_eq!((rebuilt.differing, rebuilt.keys), (0, 2));
    assert_ne!(relay.status()[0].generation, generation);
    relay.close().await;
}

/// A copy that was made before this server began, of one document.
async fn filled(stand: &Stand, root: &Path) -> Arc<VectorIndex> {
    let before = relay(stand, vec![index(root)]);
    caught_up(stand, &before, 0).await;
    before.close().await;
    drop(before);
    let index = index(root);
    assert_eq!(index.stats().documents, 1);
    index
}

/// What an erasure orders before the copies are asked.
async fn erasure_begun(stand: &Stand) -> Subject {
    let subject = Subject::of_tenant(&stand.access.tenant);
    let admin = Access::new("eve", &[Role::Admin], &stand.access.tenant, "test");
    stand.ledger.erasure_begin(&admin, &subject).await.unwrap();
    subject
}

#[tokio::test]
async fn an_erasure_reaches_every_copy_and_tells_all_that_fail() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let script = Arc::new(Script::default());
    let at = |name| root.path().join(name);
    let indexes = [filled(&stand, &at("a")).await, filled(&stand, &at("b")).await, filled(&stand, &at("c")).await];
    let failing = |at: usize| -> Arc<dyn Projection> { Faulty::new(Arc::clone(&indexes[at]) as _, &script) };
    let relay = relay(&stand, vec![failing(0), failing(1), Arc::clone(&indexes[2]) as _]);
    for copy in 0..3 {
        caught_up(&stand, &relay, copy).await;
    }
    let held = || indexes.each_ref().map(|index| index.stats().documents);
    for _ in 0..2 {
        script.add(Call::Erase, Fault::Reject(ErrorKind::Retry));
    }
    // Of nothing that the record knows as begun, so that nobody tries again.
    let subject = Subject::of_tenant(&stand.access.tenant);
    let error = relay.erase(&subject).await.unwrap_err();
    assert_eq!((error.code(), error.fact("copies")), ("copy-unavailable", Some("vectors, vectors")));
    assert_eq!(held(), [1, 1, 0]);
    relay.erase(&subject).await.unwrap();
    assert_eq!(held(), [0, 0, 0]);
    relay.close().await;
}

#[tokio::test]
async fn a_copy_that_failed_an_erasure_tries_it_again_by_itself() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let (index, script) = (filled(&stand, root.path()).await, Arc::new(Script::default()));
    let relay = relay(&stand, vec![Faulty::new(Arc::clone(&index) as _, &script)]);
    caught_up(&stand, &relay, 0).await;
    let subject = erasure_begun(&stand).await;
    script.add(Call::Erase, Fault::Reject(ErrorKind::Retry));
    assert_eq!(relay.erase(&subject).await.unwrap_err().code(), "copy-unavailable");
    assert_eq!(script.left(), 0);
    until("the copy does not try again", || index.stats().documents == 0).await;
    relay.close().await;
}

#[tokio::test]
async fn an_erasure_that_a_crash_came_between_reaches_the_copies_at_the_next_start() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("first").await;
    let index = filled(&stand, root.path()).await;
    erasure_begun(&stand).await;
    let relay = relay(&stand, vec![Arc::clone(&index) as _]);
    until("the copy does not erase", || index.stats().documents == 0).await;
    relay.close().await;
}

#[tokio::test]
async fn a_copy_found_damaged_when_it_is_opened_mends_itself() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    for name in ["first", "second", "third"] {
        stand.put(name).await;
    }
    let before = relay(&stand, vec![index(root.path())]);
    caught_up(&stand, &before, 0).await;
    let generation = before.status()[0].generation;
    before.close().await;
    drop(before);
    let file = root.path().join(format!("generation-{generation}.vectors"));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|found| found == b"second").unwrap();
    bytes[at + 60] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(index(root.path()).damaged(), 1);
    let again = relay(&stand, vec![index(root.path())]);
    until("it does not mend itself", || again.status()[0].generation > generation).await;
    assert_eq!(again.verify("vectors").await.unwrap().differing, 0);
    assert_eq!(again.status()[0].damaged, 0);
    again.close().await;
}

#[tokio::test]
async fn an_answer_that_the_record_does_not_have_is_counted_as_a_ghost_and_others_are_not() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    stand.put("kept").await;
    let fed = relay(&stand, vec![index(root.path())]);
    caught_up(&stand, &fed, 0).await;
    fed.close().await;
    drop(fed);
    // As an engine that lost a deletion.
    let index = index(root.path());
    let ghost = model::Tenant::new("haunted").unwrap();
    let (position, model) = (index.position().unwrap(), HashEmbedder.model().into());
    let values = HashEmbedder.embed(&["kept"]).unwrap().remove(0).into();
    let change = CopyChange {
        position,
        key: ResourceKey::new(&ghost, Kind::Configuration, "ghost").unwrap(),
        version: 1,
        class: Class::Internal,
        subject: Subject::of_tenant(&ghost),
        objects: vec![Object { ordinal: 0, body: Body::Vector { model, source: "test".into(), values } }],
    };
    index.apply(&ChangeBatch { through: position, changes: vec![change] }).unwrap();
    let relay = relay(&stand, vec![index]);
    let (vectors, tenant) = (relay.vectors().unwrap(), stand.access.tenant.clone());
    let filter = Filter { class_max: Class::Restricted, source: None };
    let ask = |tenant: &model::Tenant| {
        let vector = &HashEmbedder.embed(&["kept"]).unwrap().remove(0);
        let search = Search { vector, limit: 10, rescore: RESCORE, ef: EF, filter: &filter };
        relay.recall().search(&vectors, tenant, &search).unwrap().len()
    };
    assert_eq!(ask(&tenant), 1);
    let compared = || relay.recall().shown().iter().filter(|shown| shown.figures.is_some()).count();
    until("the search is not compared", || compared() == 1).await;
    let shown = relay.recall().shown().remove(0);
    assert_eq!((shown.ghosts, shown.missing, shown.figures.unwrap().mean), (0, 0, 1.0));
    assert_eq!(ask(&ghost), 1);
    let ghosts = || relay.recall().shown().iter().map(|shown| shown.ghosts).sum::<u64>();
    until("the ghost is not counted", || ghosts() == 1).await;
    relay.close().await;
}
