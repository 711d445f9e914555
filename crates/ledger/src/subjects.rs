//! Whose key seals what: `subject -> key id, state` (RECORD 8).
//!
//! The table is the truth; this map remembers. A new subject's row is written in the statement of its first
//! document. Until then its key id stands only here, and is never forgotten, so that two documents of one new
//! subject cannot take two keys. A key remembered wrongly is corrected by the statement's verdict.

use keys::{KeyId, Keystore};
use model::{Error, Result, Subject};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};

/// Remembered subjects whose row is written; beyond this, some are forgotten and asked for again.
const REMEMBERED: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    Erasing,
    Erased,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubjectKey {
    pub key: KeyId,
    pub state: State,
    /// Its row is known to be in the table.
    pub written: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Subjects {
    known: Mutex<HashMap<Subject, SubjectKey>>,
    /// Keys of subjects that are not live: nothing under them is opened, also while the keystore still has them.
    closed: RwLock<HashSet<KeyId>>,
}

impl State {
    pub(crate) fn from_code(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Live),
            1 => Ok(Self::Erasing),
            2 => Ok(Self::Erased),
            _ => Err(Error::corrupt("subject-state-unknown", "a stored subject state is not one of 0..=2")
                .with("state", code)),
        }
    }
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Live => 0,
            Self::Erasing => 1,
            Self::Erased => 2,
        }
    }
}

pub(crate) fn erased() -> Error {
    Error::not_found("subject-erased", "the data of this subject was erased; nothing can be stored or read for it")
}

impl Subjects {
    /// What is remembered; a subject that is not live is refused.
    pub(crate) fn known(&self, subject: &Subject) -> Result<Option<SubjectKey>> {
        let found = self.known.lock().get(subject).copied();
        match found {
            Some(SubjectKey { state: State::Erasing | State::Erased, .. }) => Err(refused()),
            found => Ok(found),
        }
    }

    /// What the table says.
    pub(crate) fn learn(&self, subject: &Subject, key: KeyId, state: State) {
        if state != State::Live {
            self.closed.write().insert(key);
        }
        let mut map = self.known.lock();
        if map.len() >= REMEMBERED && !map.contains_key(subject) {
            forget_some(&mut map);
        }
        map.insert(subject.clone(), SubjectKey { key, state, written: true });
    }

    /// An erasure of the key's subject has begun.
    pub(crate) fn is_closed(&self, key: KeyId) -> bool {
        self.closed.read().contains(&key)
    }

    /// Keys of erasures that have begun, as the table says when a record is opened.
    pub(crate) fn close(&self, keys: impl IntoIterator<Item = KeyId>) {
        self.closed.write().extend(keys);
    }

    /// A fresh key for a subject that has no row; who comes second gets the key of who came first.
    pub(crate) fn take(&self, subject: &Subject, keystore: &Keystore) -> Result<SubjectKey> {
        let key = keystore.take_key()?;
        let fresh = SubjectKey { key, state: State::Live, written: false };
        Ok(*self.known.lock().entry(subject.clone()).or_insert(fresh))
    }

    /// A group that named this subject and key has committed.
    pub(crate) fn written(&self, subject: &Subject) {
        if let Some(known) = self.known.lock().get_mut(subject) {
            known.written = true;
        }
    }

    /// The verdict said that the remembered key is not the table's: ask again.
    pub(crate) fn forget(&self, subject: &Subject) {
        self.known.lock().remove(subject);
    }
}

fn forget_some(map: &mut HashMap<Subject, SubjectKey>) {
    let mut odd = false;
    map.retain(|_, known| {
        odd = !odd;
        odd || !known.written || known.state != State::Live
    });
}

pub(crate) fn refused() -> Error {
    Error::refused("subject-erasing", "this subject is erased, or being erased: no new document can be stored for it")
}
