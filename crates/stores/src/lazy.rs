//! A copy as the server starts with it: not open yet. Opening reads all of it and may fail, and neither keeps the record
//! from being served.
//!
//! `ready` opens it, called by the copy's pump (again, with the pump's back-off, when it failed). What cannot be opened
//! for now is *unavailable*; what can never be opened (damage, another model, other rules) is made anew beside it. A
//! search meanwhile waits a little and then says so.

use crate::{
    Projection,
    change::ChangeBatch,
    digest::{Entry, KeyRange},
    text::TextSearch,
    vectors::VectorSearch,
};
use model::{Error, ErrorKind, Position, Result, Subject};
use parking_lot::{Condvar, Mutex};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long a search waits for a copy that is being opened.
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

/// What is opened: one generation of a copy in a directory.
pub trait Engine: Projection + Sized + 'static {
    const NAME: &'static str;
    const LEAVES_OUT: Option<&'static str> = None;
    type Basis: fmt::Debug + Send + Sync;

    /// The current generation; a new one where there never was any. What is damaged or foreign is refused and left.
    fn open(root: &Path, basis: &Self::Basis) -> Result<Arc<Self>>;
    /// An empty generation beside whatever there is.
    fn beside(root: &Path, basis: &Self::Basis) -> Result<Arc<Self>>;
    /// Removes every generation.
    fn clear(root: &Path) -> Result<()>;
    fn vectors_of(_: Arc<Lazy<Self>>) -> Option<Arc<dyn VectorSearch>> {
        None
    }
    fn texts_of(_: Arc<Lazy<Self>>) -> Option<Arc<dyn TextSearch>> {
        None
    }
}

#[derive(Debug)]
pub struct Lazy<E: Engine> {
    root: PathBuf,
    pub(crate) basis: E::Basis,
    state: Mutex<State<E>>,
    changed: Condvar,
    /// One opening at a time.
    opening: Mutex<()>,
}

#[derive(Debug)]
enum State<E> {
    /// Not tried yet, or tried now.
    Loading,
    /// Tried in vain, with the reason.
    Unavailable(String),
    /// What is there can never be opened: the next generation is made beside it.
    Anew,
    Open(Arc<E>),
}

fn loading() -> Error {
    let what = "the copy is being opened or made anew; it goes on by itself, nephkeep status tells how far it is";
    Error::retry("copy-loading", what)
}

impl<E: Engine> Lazy<E> {
    #[must_use]
    pub fn new(root: &Path, basis: E::Basis) -> Arc<Self> {
        let (state, changed) = (Mutex::new(State::Loading), Condvar::new());
        Arc::new(Self { root: root.into(), basis, state, changed, opening: Mutex::default() })
    }

    fn set(&self, state: State<E>) {
        *self.state.lock() = state;
        self.changed.notify_all();
    }

    /// The open generation, or why there is none.
    pub(crate) fn index(&self, patience: Duration) -> Result<Arc<E>> {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while matches!(*state, State::Loading) && !self.changed.wait_until(&mut state, until).timed_out() {}
        match &*state {
            State::Open(index) => Ok(Arc::clone(index)),
            State::Unavailable(why) => {
                let what = "the copy cannot be opened; it is tried again by itself";
                Err(Error::retry("copy-unavailable", what).with("reason", why))
            }
            State::Loading | State::Anew => Err(loading()),
        }
    }

    /// Of one that was never fed nothing can be told: no hits would be taken for an answer.
    pub(crate) fn fed(&self) -> Result<Arc<E>> {
        let until = Instant::now() + PATIENCE;
        let index = self.index(PATIENCE)?;
        while index.position().is_none() {
            if Instant::now() > until {
                return Err(loading());
            }
            thread::sleep(STEP);
        }
        Ok(index)
    }

    fn open(&self) -> Result<()> {
        match E::open(&self.root, &self.basis) {
            Ok(index) => self.set(State::Open(index)),
            // Proven: no later try will find it whole.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Conflict) => {
                tracing::warn!(
                    copy = E::NAME,
                    code = error.code(),
                    "a copy is made anew beside the one there is: {error}"
                );
                self.set(State::Anew);
            }
            Err(error) => {
                self.set(State::Unavailable(error.to_string()));
                return Err(error);
            }
        }
        Ok(())
    }
}

impl<E: Engine> Projection for Lazy<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn ready(&self) -> Result<()> {
        let _one = self.opening.lock();
        match &*self.state.lock() {
            State::Open(_) | State::Anew => return Ok(()),
            State::Loading | State::Unavailable(_) => {}
        }
        self.open()
    }

    /// 0: none is open.
    fn generation(&self) -> u64 {
        self.index(Duration::ZERO).map_or(0, |index| index.generation())
    }
    fn position(&self) -> Option<Position> {
        self.index(Duration::ZERO).ok()?.position()
    }
    fn damaged(&self) -> u64 {
        self.index(Duration::ZERO).map_or(0, |index| index.damaged())
    }
    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        self.index(Duration::ZERO)?.apply(batch)
    }
    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        self.index(Duration::ZERO)?.entries(range)
    }

    fn begin(&self) -> Result<Arc<dyn Projection>> {
        match self.index(Duration::ZERO) {
            Ok(index) => index.begin(),
            Err(_) => Ok(E::beside(&self.root, &self.basis)?),
        }
    }

    fn adopt(&self) -> Result<()> {
        self.index(Duration::ZERO)?.adopt()
    }

    fn erase(&self, subject: &Subject) -> Result<u64> {
        self.ready()?;
        if let State::Anew = &*self.state.lock() {
            // Nobody can tell what is in it, and it is of no more use: the next generation is made from the record.
            E::clear(&self.root)?;
            return Ok(0);
        }
        self.index(Duration::ZERO)?.erase(subject)
    }

    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        E::vectors_of(self)
    }
    fn as_texts(self: Arc<Self>) -> Option<Arc<dyn TextSearch>> {
        E::texts_of(self)
    }
    fn leaves_out(&self) -> Option<&'static str> {
        E::LEAVES_OUT
    }
}
