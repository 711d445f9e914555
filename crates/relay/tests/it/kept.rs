//! Vectors that are kept in the record: asked for once, used by everybody, gone with their texts.

use crate::stand::Stand;
use ledger::{Group, Ledger, Op, Write};
use model::{
    Access, Class, Error, ErrorKind, Kind, ResourceKey, Result, Role, Subject, Tenant,
    knowledge::{Chunk, Document},
};
use parking_lot::Mutex;
use relay::{Relay, knowledge::ToVectors};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use stores::{
    embed::{Embedder, HashEmbedder},
    vectors::{Basis, CopyKeys, Policy, VectorCopy},
};
use testkit::embeddings;

/// Answers as the offline one does, is kept, and remembers what it was asked.
#[derive(Debug, Default)]
pub struct Counting {
    asked: Mutex<Vec<String>>,
    fails: Mutex<Option<ErrorKind>>,
    refuses: Mutex<Option<&'static str>>,
}

impl Counting {
    pub fn fail(&self, how: Option<ErrorKind>) {
        *self.fails.lock() = how;
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Embedder for Counting {
    fn model(&self) -> &str {
        "counted/384"
    }
    fn dimensions(&self) -> usize {
        384
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        if let Some(kind) = *self.fails.lock() {
            return Err(Error::new(kind, "embedder-unavailable", "the test says so"));
        }
        if self.refuses.lock().is_some_and(|word| texts.iter().any(|text| text.contains(word))) {
            return Err(Error::invalid("text-not-embeddable", "the test says so"));
        }
        self.asked.lock().extend(texts.iter().map(|text| (*text).to_owned()));
        HashEmbedder.embed(texts)
    }
    fn kind(&self) -> String {
        "counted".into()
    }
    fn is_kept(&self) -> bool {
        true
    }
    fn class_max(&self) -> Class {
        Class::Internal
    }
    fn pace(&self) -> (usize, usize) {
        (4, 2)
    }
}

#[derive(Debug)]
pub struct OneKey;

impl CopyKeys for OneKey {
    fn take(&self) -> Result<u64> {
        Ok(1)
    }
    fn derive(&self, _: u64, _: &[u8]) -> Result<[u8; 32]> {
        Ok([9; 32])
    }
}

fn relay(stand: &Stand, root: &Path, embedder: &Arc<Counting>) -> Relay {
    relay_of(&stand.ledger, root, embedder)
}

fn relay_of(ledger: &Ledger, root: &Path, embedder: &Arc<Counting>) -> Relay {
    let basis = Basis {
        model: embedder.model().into(),
        dimensions: embedder.dimensions(),
        keys: Arc::new(OneKey),
        policy: Policy::default(),
    };
    let shaper = ToVectors::new(ledger, Arc::clone(embedder) as Arc<dyn Embedder>);
    let relay = Relay::new(ledger, vec![(VectorCopy::new(root, basis), Arc::new(shaper))]);
    relay.start();
    relay
}

pub async fn put_as(stand: &Stand, access: &Access, path: &str, class: Class, texts: &[&str]) -> ResourceKey {
    let chunk = |text: &&str| Chunk { heading: String::new(), text: (*text).to_owned() };
    let (source, chunker) = ("test".to_owned(), "test".to_owned());
    let chunks = texts.iter().map(chunk).collect();
    let document = Document { source, path: path.into(), title: "title".into(), chunker, class, chunks };
    let key = ResourceKey::new(&access.tenant, Kind::KnowledgeDocument, &document.id()).unwrap();
    let document = Some(document.prepared(&access.tenant).unwrap());
    let group = Group { writes: vec![Write { key: key.clone(), op: Op::Put, document }], ..Group::default() };
    stand.ledger.write(access, group).await.unwrap();
    key
}

pub async fn put(stand: &Stand, path: &str, texts: &[&str]) -> ResourceKey {
    put_as(stand, &stand.access, path, Class::Internal, texts).await
}

pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn caught_up(stand: &Stand, relay: &Relay) {
    let published = stand.ledger.published().unwrap().unwrap().n;
    until("the copy does not catch up", || relay.status()[0].position.is_some_and(|at| at.n >= published)).await;
}

async fn rows(stand: &Stand) -> i64 {
    embeddings::count(&stand.database).await
}

async fn verified(relay: &Relay, keys: u64, objects: u64) {
    let verified = relay.verify("vectors").await.unwrap();
    assert_eq!((verified.differing, verified.keys, verified.objects), (0, keys, objects), "{verified:?}");
}

#[tokio::test]
async fn a_text_is_embedded_once_whoever_needs_its_vector() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    let first = relay(&stand, &root.path().join("a"), &embedder);
    for n in 0..10 {
        put(&stand, &format!("{n}"), &[&format!("handover {n}"), "the same in each"]).await;
    }
    caught_up(&stand, &first).await;
    assert_eq!((embedder.count(), rows(&stand).await), (11, 11));
    verified(&first, 10, 20).await;
    first.rebuild("vectors").await.unwrap();
    verified(&first, 10, 20).await;
    put(&stand, "again", &["handover 3", "the same in each"]).await;
    caught_up(&stand, &first).await;
    first.close().await;
    // A copy that has nothing is made from the record, and so is one on another machine.
    let second = relay(&stand, &root.path().join("b"), &embedder);
    caught_up(&stand, &second).await;
    verified(&second, 11, 22).await;
    assert_eq!(embedder.count(), 11, "{:?}", embedder.asked.lock());
    // What is kept tells nothing: neither the text nor its vector stands in the row.
    let vector = HashEmbedder.embed(&["title\n\nhandover 3"]).unwrap().remove(0);
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    for sealed in embeddings::sealed(&stand.database).await {
        assert!(!sealed.windows(64).any(|window| bytes[..1_024].windows(64).any(|clear| clear == window)));
    }
    second.close().await;
}

#[tokio::test]
async fn a_failing_embedder_keeps_only_the_copy_behind_and_what_it_gave_is_not_asked_for_again() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    let relay = relay(&stand, root.path(), &embedder);
    put(&stand, "first", &["first"]).await;
    caught_up(&stand, &relay).await;
    embedder.fail(Some(ErrorKind::Retry));
    put(&stand, "second", &["second"]).await;
    until("the failure is not told", || relay.status()[0].error.is_some()).await;
    let (code, _) = relay.status()[0].error.clone().unwrap();
    assert_eq!(code, "embedder-unavailable");
    // The record takes writes, and what is there is searched.
    put(&stand, "third", &["third"]).await;
    assert!(relay.status()[0].lag_changes > 0);
    embedder.fail(None);
    caught_up(&stand, &relay).await;
    assert_eq!((relay.status()[0].error.clone(), embedder.count()), (None, 3));
    verified(&relay, 3, 3).await;
    relay.close().await;
}

#[tokio::test]
async fn a_text_that_is_refused_takes_its_document_and_no_other() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    *embedder.refuses.lock() = Some("endless");
    for n in 0..7 {
        put(&stand, &format!("{n}"), &[&format!("cell {n}")]).await;
    }
    let bad = put(&stand, "bad", &["before", "endless text", "after"]).await;
    let relay = relay(&stand, root.path(), &embedder);
    caught_up(&stand, &relay).await;
    assert_eq!(relay.status()[0].unshaped_named, [(bad, "text-not-embeddable")]);
    verified(&relay, 7, 7).await;
    let mut asked = embedder.asked.lock().clone();
    asked.sort();
    asked.dedup();
    assert_eq!((asked.len(), embedder.count()), (9, 9), "each of the others once");
    relay.close().await;
}

#[tokio::test]
async fn what_is_above_the_allowed_class_is_not_given_away() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    put_as(&stand, &stand.access, "secret", Class::Confidential, &["a secret"]).await;
    put(&stand, "plain", &["no secret at all"]).await;
    let relay = relay(&stand, root.path(), &embedder);
    caught_up(&stand, &relay).await;
    verified(&relay, 1, 1).await;
    assert!(embedder.asked.lock().iter().all(|text| text.contains("no secret")));
    relay.close().await;
}

#[tokio::test]
async fn a_damaged_row_is_made_anew() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    let relay = relay(&stand, root.path(), &embedder);
    put(&stand, "one", &["one", "two"]).await;
    caught_up(&stand, &relay).await;
    embeddings::flip(&stand.database).await;
    verified(&relay, 1, 2).await;
    assert_eq!((embedder.count(), rows(&stand).await), (3, 2));
    verified(&relay, 1, 2).await;
    assert_eq!(embedder.count(), 3);
    relay.close().await;
}

#[tokio::test]
async fn what_nobody_needs_is_removed_and_nothing_else() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    let relay = relay(&stand, root.path(), &embedder);
    put(&stand, "changed", &["old", "kept"]).await;
    let gone = put(&stand, "deleted", &["deleted", "kept"]).await;
    caught_up(&stand, &relay).await;
    put(&stand, "changed", &["new", "kept"]).await;
    let delete = Write { key: gone, op: Op::Delete { expected: None }, document: None };
    stand.ledger.write(&stand.access, Group { writes: vec![delete], ..Group::default() }).await.unwrap();
    caught_up(&stand, &relay).await;
    assert_eq!(rows(&stand).await, 4);
    // Another model's, which no copy has any more.
    embeddings::copied_for(&stand.database, "gone/3").await;
    stand.put("so that all rows are older than the log").await;
    caught_up(&stand, &relay).await;
    assert_eq!(relay.clean_up().await.unwrap(), 6);
    assert_eq!((rows(&stand).await, relay.clean_up().await.unwrap()), (2, 0));
    relay.rebuild("vectors").await.unwrap();
    verified(&relay, 1, 2).await;
    assert_eq!(embedder.count(), 4);
    relay.close().await;
}

#[tokio::test]
async fn an_erasure_takes_the_vectors_along() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let embedder = Arc::<Counting>::default();
    let relay = relay(&stand, root.path(), &embedder);
    let other = Access::new("eve", &[Role::Writer, Role::Admin], &Tenant::new("other").unwrap(), "test");
    put(&stand, "ours", &["the same text"]).await;
    put_as(&stand, &other, "theirs", Class::Internal, &["the same text"]).await;
    caught_up(&stand, &relay).await;
    assert_eq!(embedder.count(), 2, "another tenant's texts are its own");
    let subject = Subject::of_tenant(&other.tenant);
    let kept = stand.ledger.embeddings(&other.tenant, &subject, "counted/384", 384).await.unwrap();
    let address = kept.address("title\n\nthe same text").unwrap();
    let sealed = kept.find(&[address]).await.unwrap().remove(0).unwrap();
    assert_eq!(kept.open(&address, &sealed).unwrap().len(), 384);
    let key = stand.ledger.erasure_begin(&other, &subject).await.unwrap();
    let late = kept.keep(&[(kept.address("late").unwrap(), &[0.5; 384])]).await;
    late.unwrap();
    assert_eq!(rows(&stand).await, 2, "nothing is stored for whom an erasure has begun");
    assert!(stand.keystore.destroy(&[key]).unwrap().is_complete());
    stand.ledger.erasure_complete(&other, &subject).await.unwrap();
    assert_eq!(kept.open(&address, &sealed).unwrap_err().code(), "subject-erased");
    relay.erase(&subject).await.unwrap();
    verified(&relay, 1, 1).await;
    assert_eq!((rows(&stand).await, relay.clean_up().await.unwrap(), embedder.count()), (1, 0, 2));
    relay.close().await;
}

#[tokio::test]
async fn of_two_servers_the_leader_asks_and_the_other_takes_what_is_kept() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let (leaders, others) = (Arc::<Counting>::default(), Arc::<Counting>::default());
    put(&stand, "a", &["a handover"]).await;
    let (ledger, log, _directory) = stand.beside().await;
    let follower = relay_of(&ledger, &root.path().join("b"), &others);
    let waits = || follower.status()[0].error.as_ref().is_some_and(|(code, _)| code == "embedder-elsewhere");
    until("the follower does not wait", waits).await;
    let leader = relay(&stand, &root.path().join("a"), &leaders);
    let there = |relay: &Relay| relay.status()[0].position.is_some() && relay.status()[0].error.is_none();
    until("a copy does not catch up", || there(&leader) && there(&follower)).await;
    verified(&leader, 1, 1).await;
    verified(&follower, 1, 1).await;
    assert_eq!((leaders.count(), others.count()), (1, 0));
    follower.close().await;
    ledger.close().await;
    log.close();
    leader.close().await;
}
