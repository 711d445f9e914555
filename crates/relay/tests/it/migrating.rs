//! From one embedding model to another while questions are asked.

use crate::{
    kept::{Counting, OneKey, put, until},
    stand::Stand,
};
use ledger::Ledger;
use model::{Access, Class, ErrorKind, knowledge};
use relay::{
    Engine, Golden, Relay, Slots, Turn,
    search::{self, Answer, Question},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use stores::{
    embed::{Embedder, HashEmbedder, WideHashEmbedder},
    vectors::{Basis, Policy, VectorCopy},
};

fn slots(root: &Path) -> Slots {
    let engine: Engine = Arc::new(|directory, embedder| {
        let (model, dimensions) = (embedder.model().into(), embedder.dimensions());
        VectorCopy::new(directory, Basis { model, dimensions, keys: Arc::new(OneKey), policy: Policy::default() })
    });
    Slots::new(root, engine)
}

fn relay(stand: &Stand, root: &Path, embedders: Vec<Arc<dyn Embedder>>) -> Arc<Relay> {
    let relay = Relay::with_vectors(&stand.ledger, slots(root), embedders, Vec::new()).unwrap();
    relay.start();
    Arc::new(relay)
}

fn both() -> Vec<Arc<dyn Embedder>> {
    vec![Arc::new(HashEmbedder), Arc::new(WideHashEmbedder)]
}

async fn caught_up(stand: &Stand, relay: &Relay) {
    let published = stand.ledger.published().unwrap().unwrap().n;
    let there = || relay.status().iter().all(|copy| copy.position.is_some_and(|at| at.n >= published));
    until("a copy does not catch up", there).await;
}

async fn ask(relay: &Relay, ledger: &Ledger, access: &Access, text: &str) -> model::Result<Answer> {
    let question = Question { class_max: Class::Internal, ..Question::of(text, 5) };
    search::search(relay, ledger, access, &question).await
}

fn names(relay: &Relay) -> Vec<&'static str> {
    relay.status().iter().map(|copy| copy.name).collect()
}

fn model_of(answer: &Answer) -> &str {
    &answer.model.as_ref().unwrap().0
}

/// Every score is that of the question's and the passage's vectors by the model that the answer names.
fn of_one_model(answer: &Answer, text: &str) {
    let embedder: &dyn Embedder = if model_of(answer) == "hash-384" { &HashEmbedder } else { &WideHashEmbedder };
    assert_eq!(answer.model, Some((embedder.model().to_owned(), embedder.described())));
    let question = embedder.question(text).unwrap();
    for passage in &answer.passages {
        let stored = embedder.question(&format!("{}\n{}\n{}", passage.title, passage.heading, passage.text)).unwrap();
        let score: f32 = question.iter().zip(&stored).map(|(a, b)| a * b).sum();
        assert!((score - passage.score).abs() < 1e-4, "{score} {}", passage.score);
    }
}

/// Until told to stop, every second question from this one on; the models that answered.
async fn asking(relay: Arc<Relay>, ledger: Ledger, access: Access, stop: Arc<AtomicBool>, first: usize) -> Vec<String> {
    let mut models = Vec::new();
    for n in (first..).step_by(2) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let question = format!("which cell takes over from cell {}", n % 40);
        let answer = ask(&relay, &ledger, &access, &question).await.unwrap();
        assert_eq!((answer.passages.len(), answer.overtaken), (5, 0));
        of_one_model(&answer, &question);
        models.push(model_of(&answer).to_owned());
    }
    models
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_fails_no_query_and_mixes_no_models() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    let text = |n: usize| format!("Cell {n} hands over to cell {} when its signal is weaker", n + 1);
    for n in 0..40 {
        put(&stand, &format!("{n}.md"), &[&text(n)]).await;
    }
    let relay = relay(&stand, root.path(), both());
    caught_up(&stand, &relay).await;
    let stop = Arc::new(AtomicBool::new(false));
    let asking = |first| {
        tokio::spawn(asking(Arc::clone(&relay), stand.ledger.clone(), stand.access.clone(), Arc::clone(&stop), first))
    };
    let asked = [asking(0), asking(1)];
    relay.migration_begin().await.unwrap();
    assert_eq!(relay.migration_begin().await.unwrap_err().code(), "migration-under-way");
    put(&stand, "meanwhile.md", &["a text that is written meanwhile"]).await;
    caught_up(&stand, &relay).await;
    assert_eq!(names(&relay), ["vectors", "vectors-next"]);
    let golden = |n: usize| Golden { text: text(n), document: Some(knowledge::id("test", &format!("{n}.md"))) };
    let golden: Vec<Golden> = (0..40).map(golden).collect();
    let compared = relay.migration_compare(&stand.access.tenant, Class::Internal, golden).await.unwrap();
    assert_eq!((compared.questions, compared.known), (40, 40));
    assert!(compared.overlap_at_10 > 0.1, "{compared:?}");
    for side in &compared.sides {
        assert!(side.recall_at_10 > 0.9 && side.found_at_10 > 0.99 && side.mrr > 0.9, "{side:?}");
    }
    assert_eq!(relay.migration_turn(Turn::RollBack).await.unwrap_err().code(), "migration-turned");
    for (turn, model, beside) in [
        (Turn::CutOver, "hash-1536", "vectors-previous"),
        (Turn::RollBack, "hash-384", "vectors-next"),
        (Turn::CutOver, "hash-1536", "vectors-previous"),
    ] {
        relay.migration_turn(turn).await.unwrap();
        let answer = ask(&relay, &stand.ledger, &stand.access, "weaker signal").await.unwrap();
        assert_eq!(
            (model_of(&answer), names(&relay)),
            (model, if beside == "vectors-next" { vec!["vectors", beside] } else { vec![beside, "vectors"] })
        );
        put(&stand, "meanwhile.md", &[&format!("written after turning to {model}")]).await;
        caught_up(&stand, &relay).await;
        for copy in names(&relay) {
            assert_eq!(relay.verify(copy).await.unwrap().differing, 0, "{copy}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut models: Vec<String> = Vec::new();
    for asked in asked {
        models.extend(asked.await.unwrap());
    }
    for model in ["hash-384", "hash-1536"] {
        assert!(models.iter().any(|asked| asked == model), "nobody asked {model} meanwhile");
    }
    relay.migration_finish().await.unwrap();
    assert_eq!(
        (names(&relay), relay.migration_finish().await.unwrap_err().code()),
        (vec!["vectors"], "migration-missing")
    );
    relay.close().await;
}

#[tokio::test]
async fn a_restart_goes_on_with_what_is_searched_and_with_what_stands_beside() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    put(&stand, "a.md", &["a handover"]).await;
    let first = relay(&stand, root.path(), both());
    caught_up(&stand, &first).await;
    first.migration_begin().await.unwrap();
    caught_up(&stand, &first).await;
    first.migration_turn(Turn::CutOver).await.unwrap();
    let generations: Vec<u64> = first.status().iter().map(|copy| copy.generation).collect();
    first.close().await;
    let second = relay(&stand, root.path(), both());
    caught_up(&stand, &second).await;
    let stands = second.migration_stands().unwrap();
    assert_eq!(stands.searched, "hash-1536 (lexical, offline)");
    assert_eq!(stands.beside, Some(("vectors-previous", "hash-384 (lexical, offline)".to_owned())));
    let again: Vec<u64> = second.status().iter().map(|copy| copy.generation).collect();
    assert_eq!(again.iter().rev().collect::<Vec<_>>(), generations.iter().collect::<Vec<_>>(), "nothing was made anew");
    second.close().await;
    // The settings name the new one alone: the other copy, which nobody would feed, is gone.
    assert!(root.path().join("current").exists());
    let third = relay(&stand, root.path(), vec![Arc::new(WideHashEmbedder)]);
    caught_up(&stand, &third).await;
    assert_eq!(
        (names(&third), third.searched().unwrap().1.model().to_owned()),
        (vec!["vectors"], "hash-1536".to_owned())
    );
    assert!(!root.path().join("current").exists());
    assert_eq!(third.migration_begin().await.unwrap_err().code(), "migration-without-target");
    third.close().await;
    // And back, without a migration: made anew.
    let fourth = relay(&stand, root.path(), vec![Arc::new(HashEmbedder)]);
    caught_up(&stand, &fourth).await;
    assert_eq!(model_of(&ask(&fourth, &stand.ledger, &stand.access, "handover").await.unwrap()), "hash-384");
    assert_eq!(fourth.verify("vectors").await.unwrap().differing, 0);
    fourth.close().await;
}

#[tokio::test]
async fn a_next_embedder_that_fails_harms_no_search_and_is_not_turned_to() {
    let (stand, root) = (Stand::new().await, tempfile::tempdir().unwrap());
    put(&stand, "a.md", &["a handover"]).await;
    let next = Arc::<Counting>::default();
    next.fail(Some(ErrorKind::Retry));
    let relay = relay(&stand, root.path(), vec![Arc::new(HashEmbedder), Arc::clone(&next) as Arc<dyn Embedder>]);
    caught_up(&stand, &relay).await;
    relay.migration_begin().await.unwrap();
    until("the failure is not told", || {
        relay.status()[1].error.as_ref().is_some_and(|(code, _)| code == "embedder-unavailable")
    })
    .await;
    assert_eq!(relay.migration_turn(Turn::CutOver).await.unwrap_err().code(), "migration-behind");
    assert_eq!(ask(&relay, &stand.ledger, &stand.access, "handover").await.unwrap().passages.len(), 1);
    next.fail(None);
    caught_up(&stand, &relay).await;
    relay.migration_turn(Turn::CutOver).await.unwrap();
    assert_eq!(model_of(&ask(&relay, &stand.ledger, &stand.access, "handover").await.unwrap()), "counted/384");
    // What the one before needs is not taken for what nobody needs, and what the new one needs is kept.
    stand.put("so that all rows are older than the log").await;
    assert_eq!(relay.clean_up().await.unwrap(), 0);
    relay.close().await;
}
