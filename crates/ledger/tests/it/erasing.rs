//! Erasure against what is remembered: by a batch in flight, by another server, by an older keystore.

use crate::opened::{Opened, connector, group, key, quick, tenant, write};
use keys::Keystore;
use ledger::{Content, Ledger, Op, Settings};
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
    assert_eq!(open(&empty).await.as_deref(), Some("key-unknown"));
}
