//! The keystore in memory: shared, cheap to read, changed only through [`Store`].

use crate::{
    Bound, KeyId, Opened, Sealed,
    blocks::{self, Blocks},
    derive::{Cache, Working},
    digest,
    envelope::{self, Header},
    generation,
    kit::Kit,
    random,
    secret::Secret,
    settings::{Expect, Lost, Settings},
    state::{FIRST_KEY, Standing, State},
    status::{DirectoryStatus, SlotStatus, Status},
    store::{Beginning, Session, SlotFailure, Store},
    survey::Survey,
    wrap::Pair,
};
use bytes::Bytes;
use model::{Class, Error, Kind, Result, Version};
use parking_lot::{Mutex, RwLock};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One generation in memory.
#[derive(Debug)]
struct View {
    generation: u64,
    epoch: u64,
    state: State,
    /// Shared by the views of one epoch. A change of epoch begins an empty one, so that the working keys of what
    /// was destroyed are wiped when the last reader of the old view is done.
    cache: Arc<Cache>,
}

#[derive(Debug)]
pub struct Inner {
    store: Store,
    view: RwLock<Arc<View>>,
    /// One change at a time within this process; the file lock orders processes.
    changing: Mutex<()>,
    /// The newest generation that is known to be durable in every directory.
    everywhere: AtomicU64,
}

impl View {
    fn of(survey: &Survey, cache: Arc<Cache>) -> Self {
        let header = survey.header;
        Self { generation: header.number, epoch: header.epoch, state: survey.state.clone(), cache }
    }

    fn succeeded_by(&self, survey: &Survey) -> Self {
        let same_epoch = survey.header.epoch == self.epoch;
        Self::of(survey, if same_epoch { Arc::clone(&self.cache) } else { Arc::default() })
    }

    fn working(&self, key: KeyId, version: u32) -> Option<Arc<Working>> {
        self.cache.get(&self.state, key, version)
    }
}

/// All subject keys of a record. Share it by reference or in an `Arc`.
#[derive(Debug)]
pub struct Keystore {
    inner: Arc<Inner>,
    blocks: Blocks,
}

/// What became of an erasure or another change of epoch.
#[must_use = "an erasure is complete only when every slot has confirmed"]
#[derive(Debug)]
pub enum Destroyed {
    /// Every slot holds the new epoch only: what was destroyed is gone.
    Complete { generation: u64, epoch: u64 },
    /// In force, but these slots may still hold the old epoch key: repair them, then call `settle`.
    Incomplete { generation: u64, epoch: u64, failed: Vec<SlotFailure> },
}

impl Destroyed {
    fn after(session: Session<'_>) -> Self {
        let (generation, epoch) = (session.survey.header.number, session.survey.header.epoch);
        if session.lagging.is_empty() {
            Self::Complete { generation, epoch }
        } else {
            Self::Incomplete { generation, epoch, failed: session.lagging }
        }
    }

    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }
}

fn unknown(key: KeyId) -> Error {
    let words = "a key id that this keystore never handed out: the keystore is older than the record, or another one";
    Error::corrupt("key-unknown", words).with("key", key.0)
}

fn destroyed(key: KeyId) -> Error {
    let words = "this key was destroyed by an erasure; nothing new can be sealed or tagged under it: take a new key";
    Error::not_found("key-destroyed", words).with("key", key.0)
}

/// Opened, not looked into further than whether it is the one expected.
fn as_expected(settings: &Settings, expect: Expect) -> Result<Store> {
    let store = Store::open(settings, expect)?;
    if expect.min_generation > 0 {
        let found = store.look()?.header.number;
        if found < expect.min_generation {
            let words = "this keystore is older than what was written with it; an old one would bring erased keys back \
                         and hand key ids out twice: bring the newest generation and slot back";
            let error = Error::refused("keystore-too-old", words);
            return Err(error.with("found", found).with("needed", expect.min_generation));
        }
    }
    Ok(store)
}

impl Inner {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    fn adopt(&self, survey: &Survey) -> Arc<View> {
        let mut view = self.view.write();
        if survey.header.number > view.generation {
            *view = Arc::new(view.succeeded_by(survey));
        }
        Arc::clone(&view)
    }

    /// Runs one change under the lock, on the newest state on disk, and adopts what came of it.
    fn change<T>(&self, change: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<(T, Destroyed)> {
        let _changing = self.changing.lock();
        let mut session = self.store.begin()?;
        let changed = change(&mut session);
        self.adopt(&session.survey);
        self.confirm(&session);
        Ok((changed?, Destroyed::after(session)))
    }

    fn confirm(&self, session: &Session<'_>) {
        if session.is_everywhere() {
            self.everywhere.fetch_max(session.survey.header.number, Ordering::Release);
        }
    }

    pub fn reserve_block(&self) -> Result<Range<u64>> {
        let reserve = |session: &mut Session<'_>| {
            let mut state = session.survey.state.clone();
            let first = state.add_block()?;
            session.write_in_epoch(state)?;
            Ok(first)
        };
        let (first, _) = self.change(reserve)?;
        Ok(blocks::block_at(first))
    }

    pub fn holds(&self, key: KeyId) -> bool {
        self.view.read().state.standing(key) == Standing::Present
    }

    /// Another process may have added blocks or destroyed keys since.
    fn refresh(&self) -> Result<Arc<View>> {
        let _changing = self.changing.lock();
        Ok(self.adopt(&self.store.look()?))
    }

    /// The view in which a key stands, after one look at the disk if this one does not know it.
    fn view_knowing(&self, key: KeyId) -> Result<(Arc<View>, Standing)> {
        let mut view = self.view();
        let mut standing = view.state.standing(key);
        if standing == Standing::Unknown && key.0 >= FIRST_KEY {
            view = self.refresh()?;
            standing = view.state.standing(key);
        }
        Ok((view, standing))
    }

    /// For sealing and tagging.
    fn working(&self, key: KeyId) -> Result<(Arc<View>, Arc<Working>, u32)> {
        let (view, standing) = self.view_knowing(key)?;
        match standing {
            Standing::Present => {}
            Standing::Destroyed => return Err(destroyed(key)),
            Standing::Unknown => return Err(unknown(key)),
        }
        let version = view.state.newest_version(key);
        let working = view.working(key, version).ok_or_else(|| destroyed(key))?;
        Ok((view, working, version))
    }
}

impl Keystore {
    /// Lays a new keystore down in empty places. The root's private key is in the kit and nowhere else:
    /// write the kit, take it off this machine.
    pub fn create(settings: &Settings) -> Result<(Self, Kit)> {
        let root = Pair::generate()?;
        let mut keystore = [0; 16];
        random::fill(&mut keystore)?;
        let state = State::new(root.public);
        let header = generation::Header { keystore, number: 1, parent: 0, epoch: 1, high_water: state.high_water };
        let store = Store::establish(settings, &Beginning { header, state, epoch_key: Secret::random()? })?;
        Ok((Self::over(store)?, Kit::new(keystore, root)))
    }

    /// Opens with the host key, repairs places that lag.
    pub fn open(settings: &Settings) -> Result<Self> {
        Self::open_expecting(settings, Expect::default())
    }

    /// Refuses another keystore than expected, and one older than the record or a manifest has seen.
    pub fn open_expecting(settings: &Settings, expect: Expect) -> Result<Self> {
        // Looked at before anything is repaired: an old keystore must not write itself over a newer one.
        Self::over(as_expected(settings, expect)?)
    }

    /// Whether it opens and is the one expected, changing nothing. Returns its id and newest generation.
    pub fn look(settings: &Settings, expect: Expect) -> Result<([u8; 16], u64)> {
        let store = as_expected(settings, expect)?;
        Ok((store.id, store.look()?.header.number))
    }

    pub(crate) fn over(store: Store) -> Result<Self> {
        let mut session = store.begin()?;
        let behind = session.require_directories().err();
        let view = View::of(&session.survey, Arc::default());
        let everywhere = AtomicU64::new(if session.is_everywhere() { view.generation } else { 0 });
        drop(session);
        let inner = Inner { store, view: RwLock::new(Arc::new(view)), changing: Mutex::default(), everywhere };
        Ok(Self { inner: Arc::new(inner), blocks: Blocks::new(behind) })
    }

    /// Random and permanent; the record stores it to recognise its keystore.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.inner.store.id
    }

    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.view().generation
    }

    /// The newest generation that is durable in every directory: what the record may demand from now on.
    #[must_use]
    pub fn durable_generation(&self) -> u64 {
        self.inner.everywhere.load(Ordering::Acquire)
    }

    /// Why no key can be handed out (a directory is full, read-only or away). It stands until a block is written.
    #[must_use]
    pub fn failing(&self) -> Option<Error> {
        self.blocks.failing()
    }

    /// Tries again to write the block that `failing` tells of, at most twice a second. Reads and writes files.
    pub fn probe(&self) {
        self.blocks.probe(&self.inner);
    }

    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.view().epoch
    }

    /// A new key from the current block; durable in every directory before this returns.
    pub fn take_key(&self) -> Result<KeyId> {
        self.blocks.take(&self.inner)
    }

    /// Compresses and seals under the newest version of a key. CPU only: no IO.
    pub fn seal(&self, key: KeyId, class: Class, bound: Bound<'_>, canonical: &[u8]) -> Result<Sealed> {
        let (view, working, version) = self.inner.working(key)?;
        if view.state.retired.contains(&key.0) {
            let words = "this key is retired: it opens what it sealed and seals nothing new; take a new key";
            return Err(Error::refused("key-retired", words).with("key", key.0));
        }
        let envelope = envelope::seal(&working.cipher, (key, version), class, bound, canonical)?;
        let content_tag =
            digest::content_tag(&working.hash_key, bound.key.kind, &bound.key.id, bound.version, canonical)?;
        Ok(Sealed { envelope: Bytes::from(envelope), content_tag })
    }

    /// Opens an envelope; a destroyed key gives `Erased`, a wrong bound or a flipped bit an error of kind `Corrupt`.
    pub fn open_envelope(&self, bound: Bound<'_>, envelope: &[u8]) -> Result<Opened> {
        let header = Header::read(envelope)?;
        let key = header.key;
        let (mut view, standing) = self.inner.view_knowing(key)?;
        match standing {
            Standing::Present => {}
            Standing::Destroyed => return Ok(Opened::Erased),
            Standing::Unknown => return Err(unknown(key)),
        }
        if header.key_version > view.state.newest_version(key) {
            view = self.inner.refresh()?;
        }
        let Some(working) = view.working(key, header.key_version) else {
            if view.state.standing(key) == Standing::Destroyed {
                return Ok(Opened::Erased);
            }
            return Err(unknown(key).with("key-version", header.key_version));
        };
        Ok(Opened::Clear(Bytes::from(envelope::open(&working.cipher, bound, envelope)?)))
    }

    /// The content tag alone (documents of a class that is not sealed; recomputation in verify).
    pub fn content_tag(
        &self,
        key: KeyId,
        kind: Kind,
        id: &str,
        version: Version,
        canonical: &[u8],
    ) -> Result<[u8; 32]> {
        let (_, working, _) = self.inner.working(key)?;
        digest::content_tag(&working.hash_key, kind, id, version, canonical)
    }

    /// A keyed digest under a key's own blind-index or body-tag key: equality without disclosure (RECORD 7, 14, 15).
    pub fn blind(&self, key: KeyId, purpose: &str, bytes: &[u8]) -> Result<[u8; 32]> {
        let (_, working, _) = self.inner.working(key)?;
        digest::blind(&working.hash_key, purpose, bytes)
    }

    /// True when the key was destroyed. An unknown key is an error.
    pub fn is_destroyed(&self, key: KeyId) -> Result<bool> {
        match self.inner.view_knowing(key)?.1 {
            Standing::Present => Ok(false),
            Standing::Destroyed => Ok(true),
            Standing::Unknown => Err(unknown(key)),
        }
    }

    /// Destroys keys for good: new generation without them, fresh epoch key in every slot, old one overwritten.
    /// May be repeated: keys that are gone already are gone.
    pub fn destroy(&self, keys: &[KeyId]) -> Result<Destroyed> {
        let change = |session: &mut Session<'_>| {
            let mut state = session.survey.state.clone();
            if let Some(key) = keys.iter().find(|key| state.standing(**key) == Standing::Unknown) {
                return Err(unknown(*key));
            }
            let present = keys.iter().filter(|key| state.destroy(**key)).count();
            if present > 0 { session.write_in_new_epoch(state) } else { Ok(()) }
        };
        Ok(self.inner.change(change)?.1)
    }

    /// Goes on although newer generations are lost for good: in a fresh epoch, numbered after them, without the keys that
    /// they had destroyed, and past every key id that they had handed out. What was sealed under those stays closed.
    pub fn go_on_without(&self, lost: &Lost) -> Result<Destroyed> {
        let change = |session: &mut Session<'_>| {
            let mut state = session.survey.state.clone();
            lost.newest_key.iter().for_each(|key| state.abandon_up_to(*key));
            for key in &lost.destroyed {
                state.destroy(*key);
            }
            session.survey.last_number = session.survey.last_number.max(lost.generation);
            session.write_in_new_epoch(state)
        };
        Ok(self.inner.change(change)?.1)
    }

    /// Brings lagging slots and directories up; completes what `destroy` left incomplete.
    pub fn settle(&self) -> Result<Destroyed> {
        Ok(self.inner.change(|_| Ok(()))?.1)
    }

    /// A fresh epoch key, the same keys.
    pub fn rotate_epoch(&self) -> Result<Destroyed> {
        let change = |session: &mut Session<'_>| session.write_in_new_epoch(session.survey.state.clone());
        Ok(self.inner.change(change)?.1)
    }

    /// A new root and a fresh epoch. `keep` must put the kit where the user will find it; the slots change only after
    /// it succeeded, and the old kit opens nothing from then on.
    pub fn rotate_root(&self, keep: impl FnOnce(&Kit) -> Result<()>) -> Result<(Kit, Destroyed)> {
        let kit = Kit::new(self.id(), Pair::generate()?);
        keep(&kit)?;
        let change = |session: &mut Session<'_>| {
            let mut state = session.survey.state.clone();
            state.root_public = kit.root_public();
            session.write_in_new_epoch(state)
        };
        let outcome = self.inner.change(change)?.1;
        Ok((kit, outcome))
    }

    /// Adds a version: new seals use it, what older versions sealed still opens. Returns its number.
    pub fn rotate_key(&self, key: KeyId) -> Result<u32> {
        self.change_key(key, |state| {
            let version = state.newest_version(key).checked_add(1);
            let version = version.ok_or_else(|| Error::bug("32-bit key versions are used up"))?;
            state.later_versions.entry(key.0).or_default().push(Secret::random()?);
            Ok(version)
        })
    }

    /// The key opens what it sealed, and seals nothing new.
    pub fn retire(&self, key: KeyId) -> Result<()> {
        self.change_key(key, |state| {
            state.retired.insert(key.0);
            Ok(())
        })
    }

    fn change_key<T>(&self, key: KeyId, edit: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let change = |session: &mut Session<'_>| {
            let mut state = session.survey.state.clone();
            match state.standing(key) {
                Standing::Present => {}
                Standing::Destroyed => return Err(destroyed(key)),
                Standing::Unknown => return Err(unknown(key)),
            }
            let edited = edit(&mut state)?;
            session.write_in_epoch(state)?;
            Ok(edited)
        };
        Ok(self.inner.change(change)?.0)
    }

    /// Reads what another process changed. Keys that it destroyed are gone from here too.
    pub fn refresh(&self) -> Result<()> {
        self.inner.refresh().map(drop)
    }

    /// Looks at every place anew; repairs nothing.
    pub fn status(&self) -> Result<Status> {
        let survey = self.inner.store.look()?;
        let (state, settings) = (&survey.state, &self.inner.store.settings);
        let counts = state.counts();
        let slots = settings.slots.iter().zip(&survey.slots);
        let directories = settings.directories.iter().zip(&survey.directories);
        Ok(Status {
            keystore: hex::encode(survey.header.keystore),
            generation: survey.header.number,
            epoch: survey.header.epoch,
            blocks: counts.blocks,
            keys: counts.keys,
            keys_destroyed: counts.keys_destroyed,
            keys_retired: state.retired.len() as u64,
            keys_rotated: state.later_versions.len() as u64,
            later_versions: state.later_versions.values().map(|later| later.len() as u64).sum(),
            slots: slots.map(|(path, health)| SlotStatus { path: path.clone(), health: *health }).collect(),
            directories: directories
                .map(|(path, health)| DirectoryStatus { path: path.clone(), health: *health })
                .collect(),
            root_public: hex::encode(state.root_public),
        })
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> &crate::steps::Steps {
        &self.inner.store.steps
    }
}

impl Drop for Keystore {
    fn drop(&mut self) {
        self.blocks.finish();
    }
}

#[cfg(test)]
mod tests;
