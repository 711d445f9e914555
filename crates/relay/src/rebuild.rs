//! Making a copy anew beside the old one, and single keys in place.

use crate::{
    blocking,
    compare::{Difference, Found, What},
    copy::{Copy, Repaired, Verified},
    feed::{State, Unshaped, absent},
    walk::Walk,
};
use model::{Error, Position, ResourceKey, Result};
use std::{collections::BTreeMap, sync::Arc};
use stores::{ChangeBatch, Entry, KeyRange, Projection, digest};

impl Copy {
    /// Also of a copy that cannot be opened. Ends at a batch when the server stops; the old copy stays then.
    pub async fn rebuild(&self) -> Result<Verified> {
        let mut cursor = self.any_turn().await;
        let held = self.held();
        let fresh = blocking(move || held.begin()).await?;
        let (head, unshaped) = self.filled(&fresh).await?;
        let adopted = Arc::clone(&fresh);
        blocking(move || {
            adopted.apply(&ChangeBatch { through: head, changes: Vec::new() })?;
            adopted.adopt()
        })
        .await?;
        self.replace(&mut cursor, fresh, head, unshaped);
        self.compared(&mut cursor).await
    }

    /// Everything the record holds: the rows as they are met, then the log from before the first of them.
    async fn filled(&self, fresh: &Arc<dyn Projection>) -> Result<(Position, Unshaped)> {
        let start = self.start()?;
        let mut unshaped = Unshaped::new();
        let mut walk = Walk::new(&self.ledger, self.shaper.kind()).await?;
        while let Some(states) = walk.next().await? {
            self.going_on()?;
            let (feed, fresh) = (self.feed(), Arc::clone(fresh));
            unshaped = blocking(move || {
                let shaped = feed.shaped(&states, &mut unshaped);
                feed.write(&*fresh, shaped, start, false)?;
                Ok(unshaped)
            })
            .await?;
        }
        let head = self.ledger.head().await?;
        let mut at = start;
        while let Some((states, through)) = self.changes(Some(at), Some(head)).await? {
            self.going_on()?;
            let (feed, fresh) = (self.feed(), Arc::clone(fresh));
            unshaped = blocking(move || {
                let shaped = feed.shaped(&states, &mut unshaped);
                feed.write(&*fresh, shaped, through, true)?;
                Ok(unshaped)
            })
            .await?;
            at = through;
        }
        Ok((head, unshaped))
    }

    /// The record's state of these keys again. What the copy holds of a later position than the record's own it keeps:
    /// such keys are named, and only a rebuild of the whole copy mends them.
    pub async fn repair(&self, keys: &[ResourceKey]) -> Result<Repaired> {
        let kind = self.shaper.kind();
        if let Some(other) = keys.iter().find(|key| key.kind != kind) {
            let what = format!("this copy is made from {kind} only; name keys of that kind");
            return Err(Error::invalid("copy-kind-foreign", what).with("kind", other.kind).with("id", &other.id));
        }
        let mut cursor = self.turn().await?;
        let start = self.start()?;
        let mut states: BTreeMap<ResourceKey, Option<State>> = keys.iter().map(|key| (key.clone(), None)).collect();
        for row in self.ledger.kept_of(kind, keys).await? {
            states.insert(row.key.clone(), Some(State::Kept(row)));
        }
        let head = self.ledger.head().await?;
        let mut at = start;
        while let Some((changes, through)) = self.changes(Some(at), Some(head)).await? {
            for change in changes {
                states.entry(change.key().clone()).and_modify(|state| *state = Some(change));
            }
            at = through;
        }
        self.bring_to(&mut cursor, head).await?;
        let (feed, held) = (self.feed(), self.held());
        let mut unshaped = self.unshaped();
        let (repaired, unshaped) = blocking(move || {
            let gone = states.iter().filter(|(_, state)| state.as_ref().is_none_or(State::is_deleted));
            let gone = gone.map(|(key, _)| key.clone()).collect();
            let absent = states.iter().filter(|(_, state)| state.is_none()).map(|(key, _)| Ok(absent(key, head)));
            let present: Vec<State> = states.values().flatten().cloned().collect();
            let shaped = absent.chain(feed.shaped(&present, &mut unshaped));
            let mut entries = Vec::new();
            let shaped = shaped.inspect(|change| entries.extend(change.as_ref().map(digest::of_change)));
            feed.write(&*held, shaped, head, false)?;
            let (applied, left) = held_now(&*held, &entries)?;
            Ok((Repaired { applied, left, absent: gone }, unshaped))
        })
        .await?;
        self.remember_unshaped(unshaped);
        Ok(repaired)
    }
}

/// How many keys stand in the copy as they should, and those that do not.
fn held_now(held: &dyn Projection, entries: &[Entry]) -> Result<(u64, Vec<Difference>)> {
    let (mut applied, mut found) = (0, Found::default());
    for entry in entries {
        let place = KeyRange { first: entry.place, last: entry.place };
        let there = held.entries(place)?.into_iter().find(|there| there.key == entry.key && there.objects > 0);
        match there {
            None if entry.objects == 0 => applied += 1,
            Some(there) if there == *entry => applied += 1,
            None => found.add(What::Missing, Some(entry), None),
            Some(there) if entry.objects == 0 => found.add(What::Unexpected, None, Some(&there)),
            Some(there) => found.add(What::Different, Some(entry), Some(&there)),
        }
    }
    Ok((applied, found.named))
}
