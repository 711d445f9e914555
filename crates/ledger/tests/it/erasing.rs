//! Erasure against what is remembered: by a batch in flight, by another server, by an older keystore.

use crate::opened::{Opened, connector, group, key, quick, tenant, write};
use keys::Keystore;
use ledger::{
    Content, Ledger, Op, Settings,
    keystore_mark::{self, Demand},
};
use model::{Access, Role, Subject};
use std::{path::Path, sync::Arc, time::Duration};

fn admin() -> Access {
    Access::new("root", &[Role::Admin], &tenant(), "erasure")
}

fn customer() -> Subject {
    Subject::of_customer(&tenant(), "gone").unwrap()
}

async fn put(opened: &Opened, id: &str, text: &str) -> model::Result<ledger::Receipt> {
    let mut asked = group(vec![write(id, Op::Put, text)]);
    asked.writes[0].document.as_mut().unwrap().subject = customer();
    opened.ledger.write(&opened.access, asked).await
}

async fn read(opened: &Opened, id: &str) -> Content {
    opened.ledger.read(&opened.access, &key(id)).await.unwrap().unwrap().document
}

/// Destroys the customer's key, all steps.
async fn erase(opened: &Opened) {
    let key = opened.ledger.erasure_begin(&admin(), &customer()).await.unwrap();
    assert!(opened.keystore.destroy(&[key]).unwrap().is_complete());
    opened.ledger.erasure_complete(&admin(), &customer()).await.unwrap();
}

#[tokio::test]
async fn a_batch_in_flight_leaves_nothing_of_an_erased_subject_in_memory() {
    // No renewal comes between.
    let settings = Settings { lease: Duration::from_secs(60), ..quick() };
    let opened = Opened::on(crate::shared::database().await, settings).await;
    put(&opened, "a", "secret").await.unwrap();
    while opened.number("SELECT published FROM nephkeep.log_head").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A batch that has decided stops at the head row, while the subject is marked.
    let mut other = opened.sql().await;
    let held = other.transaction().await.unwrap();
    held.execute("SELECT 1 FROM nephkeep.log_head FOR UPDATE", &[]).await.unwrap();
    let erasing = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'nephkeep committer' AND wait_event_type = 'Lock' AND datname = current_database()";
        while opened.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        opened.ledger.erasure_begin(&admin(), &customer()).await.unwrap()
    };
    let releasing = async {
        while opened.number("SELECT count(*) FROM nephkeep.subject WHERE state = 1").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Long enough for an erasure that does not wait for the batch to be over before it.
        tokio::task::yield_now().await;
        held.rollback().await.unwrap();
    };
    let (written, key, ()) = tokio::join!(put(&opened, "a", "late"), erasing, releasing);
    assert_eq!(written.unwrap().writes[0].version, 2);
    assert!(opened.keystore.destroy(&[key]).unwrap().is_complete());
    assert_eq!(read(&opened, "a").await, Content::Erased);
}

#[tokio::test]
async fn another_server_sees_an_erasure_and_leaves_erasing_to_the_leader() {
    let first = Opened::new().await;
    put(&first, "a", "secret").await.unwrap();
    let second = first.apart(quick()).await;
    assert!(matches!(read(&second, "a").await, Content::Clear(_)));
    let refused = second.ledger.erasure_begin(&admin(), &customer()).await.unwrap_err();
    assert_eq!(refused.code(), "not-leader", "whose memory holds what is erased");
    erase(&first).await;
    let seen = async {
        while read(&second, "a").await != Content::Erased {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
}

#[tokio::test]
async fn an_erasure_that_is_not_complete_is_seen_by_another_server_too() {
    let first = Opened::new().await;
    put(&first, "a", "secret").await.unwrap();
    let second = first.apart(quick()).await;
    assert!(matches!(read(&second, "a").await, Content::Clear(_)));
    first.ledger.erasure_begin(&admin(), &customer()).await.unwrap();
    second.ledger.see_begun_erasures().await.unwrap();
    assert_eq!(read(&second, "a").await, Content::Erased);
}

/// Every file of a keystore, closed to others as it was.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_keystore_rolled_back_behind_an_erasure_or_a_key_in_use_is_refused() {
    let opened = Opened::new().await;
    let kept = crate::shared::directory();
    let (empty, full) = (kept.path().join("empty"), kept.path().join("full"));
    let keys = opened.keys().directories[0].parent().unwrap().to_owned();
    copy(&keys, &empty);
    put(&opened, "a", "secret").await.unwrap();
    copy(&keys, &full);
    let open = async |keys: &Path| {
        let keystore = Arc::new(Keystore::open(&keys::Settings::under(keys)).unwrap());
        let opened = Ledger::open(quick(), connector(&opened.config), keystore, opened.log.clone()).await;
        opened.err().map(|error| error.code().to_owned())
    };
    assert_eq!(open(&full).await, None);
    erase(&opened).await;
    assert_eq!(open(&full).await.as_deref(), Some("keystore-too-old"));
    assert_eq!(open(&empty).await.as_deref(), Some("keystore-too-old"));
}

/// Two servers of one machine: what the leader does between the other's two looks is no roll-back.
#[tokio::test]
async fn a_keystore_that_another_server_changed_since_it_was_opened_is_read_again() {
    let opened = Opened::new().await;
    put(&opened, "a", "secret").await.unwrap();
    let early = || Arc::new(Keystore::open(&opened.keys()).unwrap());
    let (before_key, before_erasure) = (early(), early());
    let key = opened.ledger.subject_key(&admin(), &customer()).await.unwrap();
    opened.keystore.rotate_key(key).unwrap();
    opened.ledger.mark_keystore().await.unwrap();
    Ledger::open(quick(), connector(&opened.config), before_key, opened.log.clone()).await.unwrap().close().await;
    erase(&opened).await;
    Ledger::open(quick(), connector(&opened.config), before_erasure, opened.log.clone()).await.unwrap().close().await;
}

/// What one copy of the keystore lacks is not always a key: a further version, a fresh epoch, a new root.
#[tokio::test]
async fn a_record_demands_every_generation_that_it_was_written_with_and_names_its_keystore() {
    let opened = Opened::new().await;
    let kept = crate::shared::directory();
    let demanded = async || keystore_mark::demand(&connector(&opened.config)).await.unwrap().unwrap();
    let open = async |keys: keys::Settings| {
        let keystore = Arc::new(Keystore::open(&keys).unwrap());
        Ledger::open(quick(), connector(&opened.config), keystore, opened.log.clone()).await.map(drop)
    };
    let keystore = opened.keystore.id();
    assert_eq!(demanded().await, Demand { keystore, generation: 1 });
    put(&opened, "a", "sealed under a block of generation 2").await.unwrap();
    assert_eq!(demanded().await, Demand { keystore, generation: opened.keystore.generation() });

    let key = opened.ledger.subject_key(&admin(), &customer()).await.unwrap();
    let keys = opened.keys().directories[0].parent().unwrap().to_owned();
    for (name, change) in CHANGES {
        let old = kept.path().join(name);
        copy(&keys, &old);
        change(&opened.keystore, key);
        // Each way in which the record learns of it.
        match name {
            "version" => drop(put(&opened, "a", "sealed under the new version").await.unwrap()),
            "epoch" => opened.ledger.mark_keystore().await.unwrap(),
            _ => drop(keystore_mark::raise(&connector(&opened.config), &opened.keystore).await.unwrap()),
        }
        let generation = opened.keystore.generation();
        assert_eq!(demanded().await, Demand { keystore, generation }, "{name}");
        let refused = open(keys::Settings::under(&old)).await.unwrap_err();
        assert_eq!(refused.code(), "keystore-too-old", "{name}");
        assert_eq!(refused.fact("needed"), Some(generation.to_string().as_str()), "{name}");
    }
    open(opened.keys()).await.unwrap();
    let other = keys::Settings::under(&kept.path().join("other"));
    drop(Keystore::create(&other).unwrap());
    assert_eq!(open(other).await.unwrap_err().code(), "keystore-other");
    assert_eq!(demanded().await.keystore, keystore);
}

type Change = fn(&Keystore, keys::KeyId);
const CHANGES: [(&str, Change); 3] = [
    ("version", |keystore, key| assert!(keystore.rotate_key(key).unwrap() > 1)),
    ("epoch", |keystore, _| assert!(keystore.rotate_epoch().unwrap().is_complete())),
    ("root", |keystore, _| assert!(keystore.rotate_root(|_| Ok(())).unwrap().1.is_complete())),
];
