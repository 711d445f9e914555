//! Looks at every directory and slot, and finds the newest state that can be opened.
//!
//! The newest epoch wins: a slot with an older epoch is repaired, never followed. Falling back to an older epoch
//! would bring erased keys back, so doubt about it is refused.

use crate::{
    files,
    generation::{self, Generation, Header},
    secret::Secret,
    settings::Settings,
    slot::{Role, Slot},
    state::{KeystoreId, State},
    status::{DirectoryHealth, SlotHealth},
};
use model::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// With which private key slots are opened.
#[derive(Debug, Clone, Copy)]
pub struct Opener<'a> {
    pub private: &'a Secret,
    pub role: Role,
}

/// The current state, and how each place stands towards it.
#[derive(Debug)]
pub struct Survey {
    pub header: Header,
    pub state: State,
    pub epoch_key: Secret,
    /// The chosen generation as stored: what a lagging directory is repaired with.
    pub stored: Vec<u8>,
    pub slots: Vec<SlotHealth>,
    pub directories: Vec<DirectoryHealth>,
    /// The highest numbers seen anywhere, also in generations that were never completed.
    pub last_number: u64,
    pub last_epoch: u64,
}

struct Found {
    number: u64,
    directory: usize,
    path: PathBuf,
    generation: Generation,
}

/// What the directories hold.
struct Shelf {
    found: Vec<Found>,
    /// Numbers of files that are not what they were written as.
    damaged: Vec<u64>,
    /// Per directory: could it be listed?
    listed: Vec<bool>,
}

enum Place {
    Whole(Box<Slot>),
    Missing,
    Damaged,
    Unreachable,
}

pub fn survey(settings: &Settings, opener: Opener<'_>) -> Result<Survey> {
    let places = look_at_slots(settings, opener.role)?;
    let Shelf { mut found, damaged, listed } = look_at_directories(settings, opener.role)?;
    found.sort_by_key(|found| std::cmp::Reverse(found.number));
    check_same_keystore(&places, &found)?;
    let (epoch, epoch_key) = newest_epoch(&places, opener)?;
    refuse_if_ahead(&places, &found, epoch)?;
    let (chosen, state) = newest_generation(&found, epoch, &epoch_key)?;
    let header = chosen.generation.header;
    let last_damaged = damaged.into_iter().max().unwrap_or(0);
    refuse_if_newest_damaged(header.number, last_damaged)?;
    let stored = chosen.generation.encode();
    let holds = |directory| {
        let same = |f: &&Found| f.directory == directory && f.number == header.number;
        found.iter().find(same).is_some_and(|f| f.generation.encode() == stored)
    };
    let directories = listed.iter().enumerate().map(|(at, reachable)| match reachable {
        false => DirectoryHealth::Unreachable,
        true if holds(at) => DirectoryHealth::Current,
        true => DirectoryHealth::Behind,
    });
    Ok(Survey {
        header,
        slots: places.iter().map(|place| health(place, epoch, opener)).collect::<Result<_>>()?,
        directories: directories.collect(),
        last_number: found.first().map_or(0, |found| found.number).max(last_damaged),
        last_epoch: found.iter().map(|found| found.generation.header.epoch).max().unwrap_or(0).max(epoch),
        state,
        epoch_key,
        stored,
    })
}

/// Every whole generation file of the sources.
pub fn generations(settings: &Settings, opener: Opener<'_>) -> Result<Vec<Generation>> {
    let shelf = look_at_directories(settings, opener.role)?;
    Ok(shelf.found.into_iter().map(|found| found.generation).collect())
}

/// The epoch keys that the slots give, old ones in lagging slots included.
pub fn epoch_keys(settings: &Settings, opener: Opener<'_>) -> Result<Vec<Secret>> {
    let mut keys = Vec::new();
    for place in look_at_slots(settings, opener.role)? {
        if let Place::Whole(slot) = place {
            keys.extend(slot.open(opener.private, opener.role)?);
        }
    }
    Ok(keys)
}

/// The host reads its own files and insists that they are private; the root reads copies on any medium.
fn read(path: &Path, role: Role) -> Result<Option<Vec<u8>>> {
    match role {
        Role::Host => files::read(path),
        Role::Root => files::read_copy(path),
    }
}

fn look_at_slots(settings: &Settings, role: Role) -> Result<Vec<Place>> {
    settings.slots.iter().map(|path| look_at_slot(path, role)).collect()
}

fn look_at_slot(path: &Path, role: Role) -> Result<Place> {
    match read(path, role) {
        Ok(None) => Ok(Place::Missing),
        Err(error) if error.code() == "keystore-unreadable" => Ok(Place::Unreachable),
        Err(error) => Err(error),
        Ok(Some(bytes)) => match Slot::decode(&bytes) {
            Ok(slot) => Ok(Place::Whole(Box::new(slot))),
            Err(error) if error.code() == "keystore-file-damaged" => Ok(Place::Damaged),
            Err(error) => Err(error.with("path", path.display())),
        },
    }
}

fn look_at_directories(settings: &Settings, role: Role) -> Result<Shelf> {
    let mut shelf = Shelf { found: Vec::new(), damaged: Vec::new(), listed: Vec::new() };
    for (directory, path) in settings.directories.iter().enumerate() {
        let checked = if role == Role::Host { files::check_directory(path) } else { Ok(()) };
        match checked.and_then(|()| files::names(path)) {
            Ok(names) => {
                names.iter().try_for_each(|name| shelf.look_at_file(directory, path, name, role))?;
                shelf.listed.push(true);
            }
            Err(error) if error.code() == "keystore-unreadable" => shelf.listed.push(false),
            Err(error) => return Err(error),
        }
    }
    Ok(shelf)
}

impl Shelf {
    fn look_at_file(&mut self, directory: usize, parent: &Path, name: &str, role: Role) -> Result<()> {
        let Some(number) = generation::number_of(name) else { return Ok(()) };
        let path = parent.join(name);
        let Some(bytes) = read(&path, role)? else { return Ok(()) };
        match Generation::decode(&bytes) {
            Ok(generation) if generation.header.number == number => {
                self.found.push(Found { number, directory, path, generation });
            }
            Err(error) if error.code() != "keystore-file-damaged" => return Err(error.with("path", path.display())),
            _ => {
                tracing::warn!(path = %path.display(), "a keystore generation is damaged");
                self.damaged.push(number);
            }
        }
        Ok(())
    }
}

fn check_same_keystore(places: &[Place], found: &[Found]) -> Result<()> {
    let of_slots = places.iter().filter_map(|place| match place {
        Place::Whole(slot) => Some(slot.keystore),
        _ => None,
    });
    let mut ids: Vec<KeystoreId> = of_slots.chain(found.iter().map(|f| f.generation.header.keystore)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 2 {
        return Ok(());
    }
    let words = "the keystore's directories and slots belong to different keystores: correct the settings";
    let ids: Vec<_> = ids.iter().map(hex::encode).collect();
    Err(Error::refused("keystore-mixed", words).with("keystores", ids.join(", ")))
}

fn newest_epoch(places: &[Place], opener: Opener<'_>) -> Result<(u64, Secret)> {
    let mut newest: Option<(u64, Secret)> = None;
    for place in places {
        let Place::Whole(slot) = place else { continue };
        let newer = newest.as_ref().is_none_or(|(epoch, _)| slot.epoch > *epoch);
        if newer && let Some(key) = slot.open(opener.private, opener.role)? {
            newest = Some((slot.epoch, key));
        }
    }
    newest.ok_or_else(|| {
        let counted = |what: fn(&Place) -> bool| places.iter().filter(|place| what(place)).count();
        let whole = counted(|place| matches!(place, Place::Whole(_)));
        let (code, words) = if whole == 0 {
            ("keystore-slots-missing", "no slot can be read; without one nothing opens: mount or restore the slots")
        } else {
            ("keystore-slots-closed", "no slot opens with this key: use the right host key, or the recovery kit")
        };
        let damaged = counted(|place| matches!(place, Place::Damaged));
        let kind = if damaged > 0 { ErrorKind::Corrupt } else { ErrorKind::Refused };
        Error::new(kind, code, words)
            .with("slots", places.len())
            .with("whole", whole)
            .with("missing", counted(|place| matches!(place, Place::Missing)))
            .with("damaged", damaged)
            .with("unreachable", counted(|place| matches!(place, Place::Unreachable)))
    })
}

/// A newer epoch that cannot be opened here means that an erasure got further than this view of it.
fn refuse_if_ahead(places: &[Place], found: &[Found], epoch: u64) -> Result<()> {
    let slot_ahead = places.iter().find_map(|place| match place {
        Place::Whole(slot) if slot.epoch > epoch => Some(slot.epoch),
        _ => None,
    });
    let unseen = places.iter().any(|place| matches!(place, Place::Missing | Place::Unreachable));
    let file_ahead = found.iter().map(|found| found.generation.header.epoch).max().filter(|ahead| *ahead > epoch);
    // With every slot in view, a generation of a newer epoch is one whose epoch never began.
    let Some(ahead) = slot_ahead.or(file_ahead.filter(|_| unseen)) else {
        if let Some(ahead) = file_ahead {
            tracing::warn!(
                epoch,
                ahead,
                "a generation of a newer epoch exists: a change was cut off, or slots were put back"
            );
        }
        return Ok(());
    };
    let words = "a newer epoch exists than the slots at hand open; going on would bring erased keys back: \
                 bring the missing slot back, or use the recovery kit with it";
    Err(Error::refused("keystore-epoch-ahead", words).with("epoch", epoch).with("ahead", ahead))
}

fn newest_generation<'a>(found: &'a [Found], epoch: u64, epoch_key: &Secret) -> Result<(&'a Found, State)> {
    for candidate in found.iter().filter(|found| found.generation.header.epoch == epoch) {
        let opened = candidate.generation.open(epoch_key).map_err(|e| e.with("path", candidate.path.display()))?;
        if let Some(state) = opened {
            return Ok((candidate, state));
        }
    }
    let words = "no directory has a generation of the slots' epoch: mount the missing directory or bring back a copy \
                 of its newest generation";
    Err(Error::corrupt("keystore-generation-missing", words).with("epoch", epoch).with("generations", found.len()))
}

/// Files appear whole, so a damaged one was once good. An older generation in its stead would hand key ids out twice.
fn refuse_if_newest_damaged(number: u64, last_damaged: u64) -> Result<()> {
    if last_damaged <= number {
        return Ok(());
    }
    let words = "the newest generation is damaged in every directory at hand; an older one would hand key ids out \
                 twice: bring a whole copy of it back";
    let error = Error::corrupt("keystore-generation-missing", words);
    Err(error.with("damaged", last_damaged).with("newest-whole", number))
}

fn health(place: &Place, epoch: u64, opener: Opener<'_>) -> Result<SlotHealth> {
    Ok(match place {
        Place::Missing => SlotHealth::Missing,
        Place::Damaged => SlotHealth::Damaged,
        Place::Unreachable => SlotHealth::Unreachable,
        Place::Whole(slot) if slot.epoch != epoch => SlotHealth::Behind { epoch: slot.epoch },
        Place::Whole(slot) if slot.open(opener.private, opener.role)?.is_some() => SlotHealth::Current,
        Place::Whole(_) => SlotHealth::OtherRecipient,
    })
}
