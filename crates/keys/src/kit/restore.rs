//! From kit, slot and generation to a working keystore; and the test that proves it, in an empty directory.

use crate::{
    Bound, KeyId, Kit, Opened, files,
    generation::Generation,
    keystore::Keystore,
    secret::Secret,
    settings::Settings,
    slot::{Role, Slot},
    state::{KeystoreId, Standing, State},
    store::{Beginning, Store},
    survey::{self, Opener, Survey},
    tree::BLOCK_KEYS,
};
use model::{Class, Error, Kind, ResourceKey, Result, Tenant};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where copies of generations and slots are read from. One of each suffices.
#[derive(Debug, Clone)]
pub struct Sources {
    pub directories: Vec<PathBuf>,
    pub slots: Vec<PathBuf>,
}

/// What a kit test found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Hex.
    pub keystore: String,
    pub generation: u64,
    pub epoch: u64,
    pub blocks: u64,
    pub keys: u64,
    pub keys_destroyed: u64,
    /// Whole generation files at hand, the newest included.
    pub generations: u64,
    /// Of these, noise: sealed under an epoch key that no slot holds any more.
    pub generations_closed: u64,
    /// Destroyed keys that some generation and slot at hand still give. Anything but 0 is an incomplete erasure.
    pub destroyed_but_readable: u64,
}

impl Report {
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.destroyed_but_readable == 0
    }
}

impl Sources {
    fn survey(&self, kit: &Kit) -> Result<Survey> {
        let found = survey::survey(&self.settings(), opener(kit)).map_err(|error| self.why_closed(kit, error))?;
        if found.header.keystore == kit.keystore() {
            return Ok(found);
        }
        Err(other(kit, found.header.keystore))
    }

    /// The slots name the root and the keystore they are of: whether the kit is void, or somebody else's.
    fn why_closed(&self, kit: &Kit, error: Error) -> Error {
        if error.code() != "keystore-slots-closed" {
            return error;
        }
        match kit.fits(&self.slots) {
            Fit::EarlierRoot => {
                let words = "this kit is of an earlier root and opens nothing any more: use the one that was written \
                             when the root was rotated";
                Error::refused("kit-void", words).with("root of the kit", hex::encode(kit.root_public()))
            }
            Fit::Other(found) => other(kit, found),
            Fit::Current | Fit::Unknown => error,
        }
    }

    fn settings(&self) -> Settings {
        Settings { directories: self.directories.clone(), slots: self.slots.clone(), host_key: PathBuf::new() }
    }
}

fn other(kit: &Kit, found: KeystoreId) -> Error {
    let words = "this kit belongs to another keystore: use the kit that was made with this one";
    let error = Error::refused("kit-other", words);
    error.with("kit", hex::encode(kit.keystore())).with("found", hex::encode(found))
}

/// Whether a kit is the one for slots, by what stands open in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Current,
    /// The root was rotated since: it opens nothing.
    EarlierRoot,
    Other([u8; 16]),
    /// No slot can be read.
    Unknown,
}

impl Kit {
    #[must_use]
    pub fn fits(&self, slots: &[PathBuf]) -> Fit {
        let read = |path: &PathBuf| Slot::decode(&files::read_copy(path).ok()??).ok();
        let Some(newest) = slots.iter().filter_map(read).max_by_key(|slot| slot.epoch) else { return Fit::Unknown };
        match newest.keystore == self.keystore() {
            false => Fit::Other(newest.keystore),
            true if newest.root_public == self.root_public() => Fit::Current,
            true => Fit::EarlierRoot,
        }
    }
}

fn opener(kit: &Kit) -> Opener<'_> {
    Opener { private: kit.root_private(), role: Role::Root }
}

/// Builds a working keystore, with a host key of its own, in the empty places of `target`. One older than
/// `min_generation` (what a manifest demands) is refused.
pub fn restore(kit: &Kit, sources: &Sources, target: &Settings, min_generation: u64) -> Result<Keystore> {
    let survey = sources.survey(kit)?;
    let header = survey.header;
    if header.number < min_generation {
        let words = "the generation at hand is older than the manifest demands: bring the newest one";
        let error = Error::refused("keystore-too-old", words);
        return Err(error.with("found", header.number).with("needed", min_generation));
    }
    let beginning = Beginning { header, state: survey.state, epoch_key: survey.epoch_key };
    Keystore::over(Store::establish(target, &beginning)?)
}

/// A new host key for a keystore whose places are there and whose host key is lost, or known to others.
pub fn recover(kit: &Kit, settings: &Settings) -> Result<Keystore> {
    settings.check()?;
    let sources = Sources { directories: settings.directories.clone(), slots: settings.slots.clone() };
    let survey = sources.survey(kit)?;
    Keystore::over(Store::rehost(settings, &survey)?)
}

/// Rebuilds the keystore in an empty directory, uses it, and tries every generation at hand against every slot.
pub fn test(kit: &Kit, sources: &Sources, target: &Path) -> Result<Report> {
    refuse_occupied(target)?;
    let survey = sources.survey(kit)?;
    let keystore = restore(kit, sources, &Settings::under(target), 0)?;
    use_it(&keystore)?;
    let generations = survey::generations(&sources.settings(), opener(kit))?;
    let keys = survey::epoch_keys(&sources.settings(), opener(kit))?;
    let mut closed = 0;
    let mut readable = 0;
    for generation in &generations {
        match opened_by_any(generation, &keys)? {
            Some(state) => readable = readable.max(destroyed_since(&state, &survey.state)),
            None => closed += 1,
        }
    }
    // The state as read from the sources: using the rebuilt keystore has added a block to it.
    let status = survey.state.counts();
    Ok(Report {
        keystore: hex::encode(survey.header.keystore),
        generation: survey.header.number,
        epoch: survey.header.epoch,
        blocks: status.blocks,
        keys: status.keys,
        keys_destroyed: status.keys_destroyed,
        generations: generations.len() as u64,
        generations_closed: closed,
        destroyed_but_readable: readable,
    })
}

fn refuse_occupied(target: &Path) -> Result<()> {
    let occupied = std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
    if !occupied {
        return Ok(());
    }
    let words = "the directory for a kit test must be empty or absent, so that nothing in it can help";
    Err(Error::refused("kit-target-occupied", words).with("path", target.display()))
}

/// Takes a key, seals and opens: the rebuilt keystore works, it does not only open.
fn use_it(keystore: &Keystore) -> Result<()> {
    let key = ResourceKey::new(&Tenant::new("kit-test")?, Kind::Configuration, "kit-test")?;
    let bound = Bound { dataset: "kit-test", key: &key, version: 1 };
    let sealed = keystore.seal(keystore.take_key()?, Class::Internal, bound, b"kit test")?;
    match keystore.open_envelope(bound, &sealed.envelope)? {
        Opened::Clear(text) if text == b"kit test".as_slice() => Ok(()),
        _ => Err(Error::bug("a rebuilt keystore does not open what it sealed")),
    }
}

fn opened_by_any(generation: &Generation, keys: &[Secret]) -> Result<Option<State>> {
    for key in keys {
        if let Some(state) = generation.open(key)? {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Keys that an older state gives and the newest does not.
fn destroyed_since(older: &State, newest: &State) -> u64 {
    let ids = older.blocks.keys().flat_map(|first| *first..first + BLOCK_KEYS).map(KeyId);
    ids.filter(|id| older.standing(*id) == Standing::Present && newest.standing(*id) == Standing::Destroyed).count()
        as u64
}
