//! From one embedding model to another while searches go on: a second copy beside the first, made from the record by the
//! other embedder and fed like any copy; compared by questions; then searched in the place of the first, at once; and back,
//! as long as both are there.
//!
//! A search takes copy and embedder together, so that a question never meets another model's vectors.

use crate::{
    Relay, blocking,
    copy::Copy,
    knowledge::ToVectors,
    slots::{Slot, Slots, State},
};
use ledger::Ledger;
use model::{Class, Error, Position, ResourceKey, Result, Tenant};
use std::{collections::HashSet, sync::Arc};
use stores::{
    embed::Embedder,
    vectors::{EF, Filter, Hit, RESCORE, Search},
};
use tokio::sync::Mutex;

/// Hits of a question that are compared.
const AT: usize = 10;
pub const QUESTIONS_MAX: usize = 1_000;
/// A copy further behind than this is waited for before it is turned to.
const BEHIND_MOST: u64 = 10_000;

pub(crate) const NEXT: &str = "vectors-next";
pub(crate) const PREVIOUS: &str = "vectors-previous";

#[derive(Debug)]
pub(crate) struct Migration {
    slots: Slots,
    embedders: Vec<Arc<dyn Embedder>>,
    /// Held through each step.
    state: Mutex<State>,
}

/// Which way to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// To the next one.
    CutOver,
    /// To the one before.
    RollBack,
}

/// How a migration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    pub searched: String,
    /// The copy beside it, as `status` names it, and what makes its vectors.
    pub beside: Option<(&'static str, String)>,
    /// An embedder of the settings that no copy has yet.
    pub target: Option<String>,
}

/// A question, and the document that answers it, if that is known.
#[derive(Debug, Clone)]
pub struct Golden {
    pub text: String,
    pub document: Option<String>,
}

/// One copy asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    pub copy: &'static str,
    pub embedder: String,
    /// Of the ten nearest by the vectors themselves, how many the copy finds: a mean over the questions.
    pub recall_at_10: f64,
    /// Over the questions whose document is known: found first, among ten, and the mean of 1 / rank.
    pub found_at_1: f64,
    pub found_at_10: f64,
    pub mrr: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub questions: usize,
    /// Of them, those whose document is known.
    pub known: usize,
    /// Passages that both find, of ten: a mean. It says how much answers change, not which are better.
    pub overlap_at_10: f64,
    /// The searched one, then the one beside it.
    pub sides: [Side; 2],
}

fn none() -> Error {
    let what = "there is no second vector copy; begin a migration first: nephkeep knowledge migrate begin";
    Error::conflict("migration-missing", what)
}

/// A slot, and what makes its vectors.
type Filled = (Slot, Arc<dyn Embedder>);

/// The copies as the slots say, for these embedders: the first is the one of the settings, others may be migrated to.
pub(crate) fn arranged(slots: Slots, embedders: Vec<Arc<dyn Embedder>>) -> Result<(Migration, Vec<Filled>)> {
    let own = embedders.first().cloned().ok_or_else(|| Error::bug("a vector copy without an embedder"))?;
    let named = |model: Option<&str>| embedders.iter().find(|embedder| Some(embedder.model()) == model).cloned();
    let told = slots.read();
    let mut state = told.clone().unwrap_or(State { searched: Slot::First, turned: false, first: None, second: None });
    let other = state.searched.other();
    // Vectors of a model that is not set any more cannot be asked: that copy is made anew by the settings' own.
    let searched = named(state.model(state.searched)).unwrap_or(own);
    state.set(state.searched, Some(searched.model()));
    let beside = named(state.model(other)).filter(|beside| beside.model() != searched.model());
    if beside.is_none() {
        if let Some(model) = state.model(other) {
            tracing::warn!(model, "the second vector copy is removed: the settings name its embedder no more");
        }
        state.set(other, None);
        state.turned = false;
    }
    let settled = if told.as_ref().is_some_and(|told| *told != state) { slots.write(&state) } else { Ok(()) };
    // Nobody feeds it, so nobody would take an erased subject out of it.
    let settled = if beside.is_none() { settled.and(slots.clear(other)) } else { settled };
    if let Err(error) = settled {
        // As the copy itself, it keeps nobody from being served.
        tracing::error!(code = error.code(), "the directory of the vector copies is not as it should be: {error}");
    }
    let mut copies = vec![(state.searched, searched)];
    copies.extend(beside.map(|beside| (other, beside)));
    Ok((Migration { slots, embedders, state: Mutex::new(state) }, copies))
}

impl Migration {
    pub(crate) fn copy(&self, ledger: &Ledger, slot: Slot, embedder: &Arc<dyn Embedder>) -> Arc<Copy> {
        let held = self.slots.copy(slot, &**embedder);
        Arc::new(Copy::new(ledger.clone(), held, Arc::new(ToVectors::new(ledger, Arc::clone(embedder)))))
    }

    pub(crate) fn beside_is_called(&self) -> &'static str {
        self.state.try_lock().map_or(NEXT, |state| if state.turned { PREVIOUS } else { NEXT })
    }

    pub(crate) fn close(&self) {
        self.embedders.iter().for_each(|embedder| embedder.close());
    }
}

impl Relay {
    fn migration(&self) -> Result<&Migration> {
        self.migration.as_ref().ok_or_else(none)
    }

    /// The copy beside the searched one.
    fn beside(&self) -> Option<Arc<Copy>> {
        self.copies.read().iter().find(|copy| matches!(copy.name(), NEXT | PREVIOUS)).cloned()
    }

    pub fn migration_stands(&self) -> Result<Stands> {
        let migration = self.migration()?;
        let (_, searched) = self.searched()?;
        let beside = self.beside().and_then(|copy| Some((copy.name(), copy.embedder()?.described())));
        let free = |embedder: &&Arc<dyn Embedder>| embedder.model() != searched.model() && beside.is_none();
        let target = migration.embedders.iter().find(free).map(|embedder| embedder.described());
        Ok(Stands { searched: searched.described(), beside, target })
    }

    /// Begins a second copy by the settings' other embedder; it is fed from now on, and `status` tells how far it is.
    pub async fn migration_begin(&self) -> Result<()> {
        let migration = self.migration()?;
        let mut state = migration.state.lock().await;
        if self.beside().is_some() {
            let what =
                "there is a second vector copy already; end that migration first: nephkeep knowledge migrate finish";
            return Err(Error::conflict("migration-under-way", what));
        }
        let (_, searched) = self.searched()?;
        let Some(embedder) = migration.embedders.iter().find(|embedder| embedder.model() != searched.model()) else {
            let what = "the settings name no other embedder; set [embedder.next] in nephkeep.toml and start again";
            return Err(Error::conflict("migration-without-target", what));
        };
        let slot = state.searched.other();
        let mut next = state.clone();
        next.turned = false;
        next.set(next.searched, Some(searched.model()));
        next.set(slot, Some(embedder.model()));
        // What an earlier one has left is of no use.
        migration.slots.clear(slot)?;
        migration.slots.write(&next)?;
        let copy = migration.copy(&self.ledger, slot, embedder);
        copy.rename(Some(NEXT));
        self.copies.write().push(Arc::clone(&copy));
        copy.launch();
        *state = next;
        Ok(())
    }

    /// The copy beside is searched from now on, from the position that is returned; the other one is fed on.
    pub async fn migration_turn(&self, turn: Turn) -> Result<Position> {
        let migration = self.migration()?;
        let mut state = migration.state.lock().await;
        let copy = self.beside().ok_or_else(none)?;
        if state.turned != (turn == Turn::RollBack) {
            let what = "that copy is searched already; see nephkeep knowledge migrate status";
            return Err(Error::conflict("migration-turned", what));
        }
        let behind = copy.status();
        if behind.position.is_none() || behind.lag_changes > BEHIND_MOST {
            let what =
                "the other copy is not as far as the record yet; nephkeep status tells how far, and what keeps it";
            return Err(Error::conflict("migration-behind", what).with("changes", behind.lag_changes));
        }
        let mut cursor = copy.turn().await?;
        let head = self.ledger.head().await?;
        copy.bring_to(&mut cursor, head).await?;
        let mut next = state.clone();
        next.searched = state.searched.other();
        next.turned = !state.turned;
        migration.slots.write(&next)?;
        self.turn_to(&copy, if next.turned { PREVIOUS } else { NEXT });
        *state = next;
        Ok(head)
    }

    /// Ends it: the copy that is not searched goes, whether it was the next or the one before.
    pub async fn migration_finish(&self) -> Result<()> {
        let migration = self.migration()?;
        let mut state = migration.state.lock().await;
        let copy = self.beside().ok_or_else(none)?;
        let slot = state.searched.other();
        let mut next = state.clone();
        next.set(slot, None);
        next.turned = false;
        migration.slots.write(&next)?;
        self.copies.write().retain(|other| !Arc::ptr_eq(other, &copy));
        copy.end().await;
        // A rebuild or a comparison that was ordered ends at its next batch.
        drop(copy.any_turn().await);
        migration.slots.clear(slot)?;
        *state = next;
        Ok(())
    }

    /// Asks both copies the same questions. Nothing of a document is shown, so nothing is released.
    pub async fn migration_compare(&self, tenant: &Tenant, class_max: Class, golden: Vec<Golden>) -> Result<Compared> {
        if golden.is_empty() || golden.len() > QUESTIONS_MAX {
            let what = "a comparison has 1 to 1000 questions";
            return Err(Error::invalid("attribute-value", what).with("field", "questions"));
        }
        let searched = self.searched.read().clone().ok_or_else(none)?;
        let pair = [searched, self.beside().ok_or_else(none)?];
        let tenant = tenant.clone();
        blocking(move || {
            let filter = Filter { class_max, source: None };
            let [a, b] = [asked(&pair[0], &tenant, &filter, &golden)?, asked(&pair[1], &tenant, &filter, &golden)?];
            let known = golden.iter().filter(|question| question.document.is_some()).count();
            let overlaps = a.hits.iter().zip(&b.hits).map(|(a, b)| overlap(a, b));
            let overlap_at_10 = overlaps.sum::<f64>() / golden.len() as f64;
            Ok(Compared { questions: golden.len(), known, overlap_at_10, sides: [a.side, b.side] })
        })
        .await
    }
}

struct Asked {
    side: Side,
    hits: Vec<HashSet<(ResourceKey, u32)>>,
}

fn places(hits: &[Hit]) -> HashSet<(ResourceKey, u32)> {
    hits.iter().map(|hit| (hit.key.clone(), hit.ordinal)).collect()
}

/// Of the more that either has; two that find nothing agree.
fn overlap<T: Eq + std::hash::Hash>(a: &HashSet<T>, b: &HashSet<T>) -> f64 {
    let most = a.len().max(b.len());
    if most == 0 { 1.0 } else { a.intersection(b).count() as f64 / most as f64 }
}

fn asked(copy: &Copy, tenant: &Tenant, filter: &Filter, golden: &[Golden]) -> Result<Asked> {
    let (vectors, embedder) = (copy.vectors().ok_or_else(none)?, copy.embedder().ok_or_else(none)?);
    let (mut recall, mut first, mut ten, mut rank, mut known) = (0.0, 0.0, 0.0, 0.0, 0.0_f64);
    let mut found = Vec::with_capacity(golden.len());
    for Golden { text, document } in golden {
        let vector = &embedder.question(text)?;
        let search = Search { vector, limit: AT, rescore: RESCORE, ef: EF, filter };
        let (hits, exact) = (vectors.search(tenant, &search)?, vectors.search_exact(tenant, &search)?);
        recall += overlap(&places(&exact), &places(&hits));
        if let Some(document) = document {
            known += 1.0;
            if let Some(at) = documents(&hits).iter().position(|id| id == document) {
                ten += 1.0;
                rank += 1.0 / (at + 1) as f64;
                first += if at == 0 { 1.0 } else { 0.0 };
            }
        }
        found.push(places(&hits));
    }
    let of_known = |sum: f64| if known > 0.0 { sum / known } else { 0.0 };
    let side = Side {
        copy: copy.name(),
        embedder: embedder.described(),
        recall_at_10: recall / golden.len() as f64,
        found_at_1: of_known(first),
        found_at_10: of_known(ten),
        mrr: of_known(rank),
    };
    Ok(Asked { side, hits: found })
}

/// Each once, the best first.
fn documents(hits: &[Hit]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for hit in hits {
        if !seen.iter().any(|id| **id == *hit.key.id) {
            seen.push(hit.key.id.to_string());
        }
    }
    seen
}
