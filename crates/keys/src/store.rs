//! Changing a keystore on disk: one writer at a time, generations first, slots last (RECORD 8, 9).
//!
//! A change within an epoch writes a new generation to every directory. A change of epoch (erasure, rotation of
//! epoch or root) does the same under a fresh epoch key and then overwrites every slot. Until the first slot holds
//! the new epoch the old state opens; from then on the new one does, and slots that lag are brought up at the next
//! opportunity. A crash anywhere leaves one of the two.

use crate::{
    files::{self, Lock},
    generation::{self, Generation, Header},
    host_key,
    secret::Secret,
    settings::{Expect, Settings},
    slot::{Recipients, Role, Slot},
    state::{KeystoreId, State},
    status::{DirectoryHealth, SlotHealth},
    steps::{Step, Steps},
    survey::{Opener, Survey, survey},
    wrap::Pair,
};
use model::{Error, Result};
use std::path::{Path, PathBuf};

/// Generations kept per directory; older ones are superseded, or noise.
const KEPT_GENERATIONS: usize = 16;

/// A slot that did not confirm, and why.
#[derive(Debug)]
pub struct SlotFailure {
    pub path: PathBuf,
    pub error: Error,
}

#[derive(Debug)]
pub struct Store {
    pub settings: Settings,
    pub id: KeystoreId,
    host: Pair,
    pub steps: Steps,
}

/// The keystore as it is on disk, held under the lock.
#[derive(Debug)]
pub struct Session<'a> {
    store: &'a Store,
    pub survey: Survey,
    /// Slots that could not be brought up to the epoch, and confirmed durable.
    pub lagging: Vec<SlotFailure>,
    /// Why a directory could not be brought up to the generation.
    behind: Option<Error>,
    _lock: Lock,
}

/// The state that a new keystore, or one restored from its kit, begins with.
#[derive(Debug)]
pub struct Beginning {
    pub header: Header,
    pub state: State,
    pub epoch_key: Secret,
}

impl Store {
    /// Lays a keystore down in empty places: generation, host key, slots.
    pub fn establish(settings: &Settings, beginning: &Beginning) -> Result<Self> {
        settings.check()?;
        settings.make_directories()?;
        refuse_existing(settings)?;
        let Beginning { header, state, epoch_key } = beginning;
        let store =
            Self { settings: settings.clone(), id: header.keystore, host: Pair::generate()?, steps: Steps::default() };
        let _lock = Lock::take_first(&settings.directories)?;
        let stored = Generation::seal(*header, state, epoch_key)?.encode();
        store.write_generation(header.number, &stored)?;
        host_key::write(&settings.host_key, &store.id, &store.host)?;
        let failed = store.write_slots(header.epoch, epoch_key, state.root_public)?;
        failed.into_iter().next().map_or(Ok(store), |failure| Err(failure.error))
    }

    pub fn open(settings: &Settings, expect: Expect) -> Result<Self> {
        settings.check()?;
        let (id, host) = host_key::read(&settings.host_key)?;
        if let Some(wanted) = expect.keystore.filter(|wanted| *wanted != id) {
            let words = "this is another keystore than the record was written with: correct the keystore's settings";
            let error = Error::refused("keystore-other", words);
            return Err(error.with("found", hex::encode(id)).with("expected", hex::encode(wanted)));
        }
        Ok(Self { settings: settings.clone(), id, host, steps: Steps::default() })
    }

    /// Gives the keystore that a kit has opened in its own places a new host key.
    pub fn rehost(settings: &Settings, survey: &Survey) -> Result<Self> {
        let (id, epoch) = (survey.header.keystore, survey.header.epoch);
        let store = Self { settings: settings.clone(), id, host: Pair::generate()?, steps: Steps::default() };
        let _lock = Lock::take_first(&settings.directories)?;
        host_key::write(&settings.host_key, &id, &store.host)?;
        let mut failed = store.write_slots(epoch, &survey.epoch_key, survey.state.root_public)?;
        // One slot is enough to go on; a lost one is named by `status` and keeps erasures incomplete.
        if failed.len() == settings.slots.len()
            && let Some(failure) = failed.pop()
        {
            return Err(failure.error);
        }
        Ok(store)
    }

    fn opener(&self) -> Opener<'_> {
        Opener { private: &self.host.private, role: Role::Host }
    }

    /// What is on disk now, without the lock and without repairing anything.
    pub fn look(&self) -> Result<Survey> {
        let survey = survey(&self.settings, self.opener())?;
        self.check_id(&survey)?;
        Ok(survey)
    }

    fn check_id(&self, survey: &Survey) -> Result<()> {
        if survey.header.keystore == self.id {
            return Ok(());
        }
        let words = "the host key belongs to another keystore than the directories: correct the settings";
        let error = Error::refused("keystore-mixed", words);
        Err(error.with("host-key", hex::encode(self.id)).with("directories", hex::encode(survey.header.keystore)))
    }

    /// Takes the lock, reads the newest state, repairs what lags behind it and makes it durable.
    pub fn begin(&self) -> Result<Session<'_>> {
        let lock = Lock::take_first(&self.settings.directories)?;
        let survey = self.look()?;
        let mut session = Session { store: self, survey, lagging: Vec::new(), behind: None, _lock: lock };
        session.repair_directories();
        session.repair_slots()?;
        session.tidy();
        Ok(session)
    }

    fn write_generation(&self, number: u64, stored: &[u8]) -> Result<()> {
        for (at, directory) in self.settings.directories.iter().enumerate() {
            files::check_directory(directory)?;
            files::write_durably(&directory.join(generation::file_name(number)), stored)?;
            self.steps.reached(Step::Directory(at));
        }
        Ok(())
    }

    fn write_slots(&self, epoch: u64, epoch_key: &Secret, root: [u8; 32]) -> Result<Vec<SlotFailure>> {
        let bytes = self.slot(epoch, epoch_key, root)?;
        let mut failed = Vec::new();
        for (at, path) in self.settings.slots.iter().enumerate() {
            self.steps.reached(Step::BeforeSlot(at));
            if let Err(error) = write_slot(path, &bytes) {
                failed.push(SlotFailure { path: path.clone(), error });
            }
            self.steps.reached(Step::Slot(at));
        }
        Ok(failed)
    }

    fn slot(&self, epoch: u64, epoch_key: &Secret, root: [u8; 32]) -> Result<Vec<u8>> {
        let to = Recipients { root, host: self.host.public };
        Ok(Slot::wrap(self.id, epoch, epoch_key, to)?.encode())
    }
}

impl Session<'_> {
    /// A new generation under the epoch key that is in force: durable in every directory when this returns.
    pub fn write_in_epoch(&mut self, state: State) -> Result<()> {
        self.require_directories()?;
        if self.lagging.len() == self.store.settings.slots.len() {
            let words = "no slot confirms the current epoch, so nothing new may be sealed under it: repair the slots";
            return Err(self.slots_error("keystore-slots-unconfirmed", words));
        }
        let header = self.next_header(self.survey.header.epoch, &state);
        let stored = Generation::seal(header, &state, &self.survey.epoch_key)?.encode();
        self.store.write_generation(header.number, &stored)?;
        self.adopt(header, state, stored);
        Ok(())
    }

    /// A new generation under a fresh epoch key, which then replaces the old one in every slot.
    /// `lagging` afterwards names the slots that did not confirm; with none confirmed the old state stays in force.
    pub fn write_in_new_epoch(&mut self, state: State) -> Result<()> {
        self.require_directories()?;
        let epoch_key = Secret::random()?;
        let header = self.next_header(self.survey.last_epoch + 1, &state);
        let stored = Generation::seal(header, &state, &epoch_key)?.encode();
        if let Err(error) = self.store.write_generation(header.number, &stored) {
            // Its epoch never began: left behind, it would cast doubt on a slot that cannot be read later.
            let name = generation::file_name(header.number);
            self.store.settings.directories.iter().for_each(|directory| files::discard(&directory.join(&name)));
            return Err(error);
        }
        self.lagging = self.store.write_slots(header.epoch, &epoch_key, state.root_public)?;
        if self.lagging.len() == self.store.settings.slots.len() {
            let words = "no slot took the new epoch; nothing was destroyed: repair the slots, then try again";
            return Err(self.slots_error("keystore-slots-unconfirmed", words));
        }
        self.survey.epoch_key = epoch_key;
        self.survey.last_epoch = header.epoch;
        self.adopt(header, state, stored);
        self.tidy();
        Ok(())
    }

    /// Before anything is written: where one directory takes nothing, the others would grow with every attempt.
    pub fn require_directories(&mut self) -> Result<()> {
        self.behind.take().map_or(Ok(()), Err)
    }

    /// The generation is durable in every directory.
    pub fn is_everywhere(&self) -> bool {
        self.survey.directories.iter().all(|health| *health == DirectoryHealth::Current)
    }

    fn next_header(&self, epoch: u64, state: &State) -> Header {
        Header {
            keystore: self.store.id,
            number: self.survey.last_number + 1,
            parent: self.survey.header.number,
            epoch,
            high_water: state.high_water,
        }
    }

    fn adopt(&mut self, header: Header, state: State, stored: Vec<u8>) {
        self.survey.last_number = header.number;
        self.survey.header = header;
        self.survey.state = state;
        self.survey.stored = stored;
        self.survey.directories.fill(DirectoryHealth::Current);
    }

    fn slots_error(&self, code: &'static str, words: &str) -> Error {
        let paths: Vec<_> = self.lagging.iter().map(|failure| failure.path.display().to_string()).collect();
        let causes: Vec<_> = self.lagging.iter().map(|failure| failure.error.to_string()).collect();
        Error::retry(code, words).with("slots", paths.join(", ")).with("causes", causes.join("; "))
    }

    /// A directory that cannot be repaired is reported by `status`, and fails the next write with this reason.
    fn repair_directories(&mut self) {
        let name = generation::file_name(self.survey.header.number);
        for (directory, health) in self.store.settings.directories.iter().zip(&mut self.survey.directories) {
            let path = directory.join(&name);
            let repaired = match health {
                // It may have been written by a process that died before it was durable.
                DirectoryHealth::Current => files::sync_file(&path).and_then(|()| files::sync_directory(directory)),
                DirectoryHealth::Behind => files::write_durably(&path, &self.survey.stored),
                DirectoryHealth::Unreachable => files::check_directory(directory),
            };
            match repaired {
                // Back since the survey: the next one repairs it.
                Ok(()) if *health == DirectoryHealth::Unreachable => {}
                Ok(()) => *health = DirectoryHealth::Current,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a keystore directory lags behind");
                    if *health == DirectoryHealth::Current {
                        *health = DirectoryHealth::Behind;
                    }
                    self.behind = self.behind.take().or(Some(error));
                }
            }
        }
    }

    fn repair_slots(&mut self) -> Result<()> {
        let Survey { header, epoch_key, state, .. } = &self.survey;
        let bytes = self.store.slot(header.epoch, epoch_key, state.root_public)?;
        for (path, health) in self.store.settings.slots.iter().zip(&mut self.survey.slots) {
            let repaired = match health {
                SlotHealth::Current => files::sync_file(path),
                _ => write_slot(path, &bytes),
            };
            match repaired {
                Ok(()) => *health = SlotHealth::Current,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a keystore slot lags behind");
                    self.lagging.push(SlotFailure { path: path.clone(), error });
                }
            }
        }
        Ok(())
    }

    /// Removes what a crash left over and, once every slot is current, generations that are no longer of use.
    fn tidy(&self) {
        for directory in &self.store.settings.directories {
            files::discard_temporaries(directory);
            if self.lagging.is_empty() {
                self.discard_superseded(directory);
            }
        }
    }

    fn discard_superseded(&self, directory: &Path) {
        let names = files::names(directory).unwrap_or_default();
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| generation::number_of(name)).collect();
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        // A newer one than the current is of an epoch that never began; or the slots were put back by hand, and then
        // it is the only copy of the truth. It goes when it has become old.
        let current = self.survey.header.number;
        for number in numbers.iter().filter(|number| **number < current).skip(KEPT_GENERATIONS - 1) {
            files::discard(&directory.join(generation::file_name(*number)));
        }
    }
}

fn write_slot(path: &Path, bytes: &[u8]) -> Result<()> {
    files::check_directory(&files::parent_of(path))?;
    if path.exists() { files::overwrite(path, bytes) } else { files::write_durably(path, bytes) }
}

fn refuse_existing(settings: &Settings) -> Result<()> {
    let mut taken: Vec<PathBuf> = Vec::new();
    for directory in &settings.directories {
        let names = files::names(directory)?;
        let generations = names.into_iter().filter(|name| generation::number_of(name).is_some());
        taken.extend(generations.map(|name| directory.join(name)));
    }
    let single_files = settings.slots.iter().chain([&settings.host_key]);
    taken.extend(single_files.filter(|path| path.exists()).cloned());
    let Some(path) = taken.first() else { return Ok(()) };
    let words = "there is a keystore here already; replacing it would lose every document sealed under it: open it, \
                 or choose empty places";
    Err(Error::refused("keystore-exists", words).with("path", path.display()).with("files", taken.len()))
}
