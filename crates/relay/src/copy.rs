//! One copy: its pump, and what the verbs that hold the pump have in common.

use crate::{
    Shaper, blocking,
    compare::Difference,
    feed::{Feed, State, Unshaped},
    knowledge::{Embedded, ToVectors},
    measures::Imports,
};
use ledger::Ledger;
use model::{Error, ErrorKind, Position, ResourceKey, Result, Subject};
use parking_lot::{Mutex, RwLock};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use stores::{ChangeBatch, Projection, embed::Embedder, text::TextSearch, vectors::VectorSearch};
use tokio::{
    sync::{Mutex as Turn, MutexGuard, watch},
    task::JoinHandle,
};

/// Changes that are read at a time: with `feed`, what bounds the memory of a pump.
const BATCH: usize = 256;
/// A copy that nothing concerns still remembers how far it is, this often: what a start would read again.
const REMEMBER_EVERY: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_millis(500);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);
/// The record came back with another life of its log: what the copy holds may never have been.
const VOIDED: &str = "position-voided";
/// Documents without objects that `Status` names.
const STATUS_NAMED: usize = 10;

#[derive(Debug)]
pub struct Copy {
    pub(crate) ledger: Ledger,
    pub(crate) shaper: Arc<dyn Shaper>,
    held: RwLock<Arc<dyn Projection>>,
    /// Where the pump is in the log. Whoever holds it is the only one who changes the copy.
    turn: Turn<Cursor>,
    imports: Arc<Imports>,
    seen: Mutex<Seen>,
    /// Where it is not the only one that its engine makes.
    called: RwLock<Option<&'static str>>,
    stop: watch::Sender<bool>,
    pump: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    /// The copy is open, and `at` is where it stands.
    ready: bool,
    pub at: Option<Position>,
    /// It was damaged when it was opened, and nothing was done about it yet.
    damaged: bool,
    /// An erasure of which this copy may still hold something: one failed here, or this server has just begun.
    erasing: bool,
    remembered: Instant,
}

#[derive(Debug)]
struct Seen {
    at: Option<Position>,
    /// Since when there is something that was not applied yet.
    behind_since: Option<Instant>,
    error: Option<(String, String)>,
    unshaped: Unshaped,
    rebuilt_because: Option<&'static str>,
}

/// How a copy stands.
#[derive(Debug, Clone)]
pub struct Status {
    pub name: &'static str,
    pub generation: u64,
    pub position: Option<Position>,
    /// Changes of the log it has not looked at yet.
    pub lag_changes: u64,
    pub lag_seconds: f64,
    /// Keys and pieces that are known to be damaged.
    pub damaged: u64,
    /// Written by the pump, rebuilds and repairs since this server began, and how long that took.
    pub objects_imported: u64,
    pub import_time: Duration,
    /// Code and words of what keeps it from going on.
    pub error: Option<(String, String)>,
    /// Documents that cannot be shaped, since the copy was made or this server began: they have nothing in the copy.
    pub unshaped: u64,
    /// The first ten of them, each with its error's code.
    pub unshaped_named: Vec<(ResourceKey, &'static str)>,
    /// Why this server made it anew by itself.
    pub rebuilt_because: Option<&'static str>,
    /// What its embedder was asked for, where its vectors are kept in the record.
    pub embedded: Option<Embedded>,
    /// What the record has and this copy never does.
    pub leaves_out: Option<&'static str>,
}

/// A copy compared with the record.
#[derive(Debug, Clone)]
pub struct Verified {
    pub name: &'static str,
    pub generation: u64,
    /// Both sides were looked at here.
    pub position: Position,
    pub keys: u64,
    pub objects: u64,
    pub differing: u64,
    /// The first thousand.
    pub differences: Vec<Difference>,
    /// Documents of the record that cannot be shaped, so that a copy has nothing of them.
    pub unshaped: u64,
    /// The first thousand, each with its error's code.
    pub unshaped_named: Vec<(ResourceKey, &'static str)>,
}

/// Keys whose state was applied again.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// As the record says they should be.
    pub applied: u64,
    /// Not so: the copy holds a state of them that is later than the record's.
    pub left: Vec<Difference>,
    /// Of which the record holds nothing: they were deleted, or never there.
    pub absent: Vec<ResourceKey>,
}

impl Copy {
    pub fn new(ledger: Ledger, held: Arc<dyn Projection>, shaper: Arc<dyn Shaper>) -> Self {
        let cursor = Cursor { ready: false, at: None, damaged: false, erasing: true, remembered: Instant::now() };
        let loading = ("copy-loading".to_owned(), "the copy is being opened".to_owned());
        let seen = Seen {
            at: None,
            behind_since: None,
            error: Some(loading),
            unshaped: Unshaped::new(),
            rebuilt_because: None,
        };
        Self {
            ledger,
            shaper,
            held: RwLock::new(held),
            turn: Turn::new(cursor),
            imports: Arc::default(),
            seen: Mutex::new(seen),
            called: RwLock::default(),
            stop: watch::Sender::new(false),
            pump: Mutex::default(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.called.read().unwrap_or_else(|| self.held().name())
    }

    /// Another name than its engine's.
    pub(crate) fn rename(&self, name: Option<&'static str>) {
        *self.called.write() = name;
    }

    /// Feeds it until its end.
    pub(crate) fn launch(self: &Arc<Self>) {
        *self.pump.lock() = Some(tokio::spawn(Arc::clone(self).pump()));
    }

    /// No batch is begun any more, nor are rebuilds and comparisons gone on with.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) async fn end(&self) {
        self.stop();
        let pump = self.pump.lock().take();
        if let Some(pump) = pump
            && let Err(error) = pump.await
        {
            tracing::error!(copy = self.name(), %error, "a pump ended badly");
        }
    }

    /// What makes its vectors, where they are what it holds.
    pub(crate) fn embedder(&self) -> Option<Arc<dyn Embedder>> {
        self.shaper.as_vectors().map(|vectors| Arc::clone(vectors.embedder()))
    }

    pub(crate) fn held(&self) -> Arc<dyn Projection> {
        Arc::clone(&self.held.read())
    }

    pub(crate) fn feed(&self) -> Feed {
        Feed {
            ledger: self.ledger.clone(),
            shaper: Arc::clone(&self.shaper),
            copy: self.name(),
            imports: Arc::clone(&self.imports),
        }
    }

    pub fn vectors(&self) -> Option<Arc<dyn VectorSearch>> {
        self.held().as_vectors()
    }

    pub fn texts(&self) -> Option<Arc<dyn TextSearch>> {
        self.held().as_texts()
    }

    pub fn status(&self) -> Status {
        let (held, seen) = (self.held(), self.seen.lock());
        let published = self.ledger.published().ok().flatten().map_or(0, |position| position.n);
        let (objects_imported, import_time) = self.imports.counted();
        Status {
            objects_imported,
            import_time,
            name: self.name(),
            generation: held.generation(),
            position: seen.at,
            lag_changes: published.saturating_sub(seen.at.map_or(0, |position| position.n)),
            lag_seconds: seen.behind_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            damaged: held.damaged(),
            error: seen.error.clone(),
            unshaped: seen.unshaped.len() as u64,
            unshaped_named: seen.unshaped.iter().take(STATUS_NAMED).map(|(key, code)| (key.clone(), *code)).collect(),
            rebuilt_because: seen.rebuilt_because,
            embedded: self.shaper.as_vectors().filter(|vectors| vectors.embedder().is_kept()).map(ToVectors::embedded),
            leaves_out: held.leaves_out(),
        }
    }

    /// Until told to stop. What can pass is tried again; what cannot is told in `status`, and tried again less often:
    /// a rebuild or a new version may mend it.
    pub async fn pump(self: Arc<Self>) {
        let (mut stop, mut published) = (self.stop.subscribe(), self.ledger.watch_published());
        let mut pause = PAUSE_FIRST;
        while !*stop.borrow_and_update() {
            let wait = match self.turn_once().await {
                Ok(true) => {
                    pause = PAUSE_FIRST;
                    continue;
                }
                Ok(false) => IDLE,
                // Stopped in the middle of a rebuild: the next start begins it anew.
                Err(_) if *stop.borrow() => break,
                Err(error) => {
                    self.note(&error);
                    pause = (pause * 2).min(PAUSE_MOST);
                    if error.kind() == ErrorKind::Retry { pause } else { PAUSE_MOST }
                }
            };
            tokio::select! {
                _ = stop.changed() => break,
                _ = published.changed(), if wait == IDLE => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.remember().await;
    }

    /// The next start begins where this one ended.
    async fn remember(&self) {
        let cursor = self.turn.lock().await;
        let (Some(at), held) = (cursor.at, self.held()) else { return };
        if !cursor.ready || held.position() == Some(at) {
            return;
        }
        let batch = ChangeBatch { through: at, changes: Vec::new() };
        if let Err(error) = blocking(move || held.apply(&batch)).await {
            tracing::warn!(copy = self.name(), code = error.code(), "a copy's position was not written: {error}");
        }
    }

    /// Whoever holds it is the only one who changes the copy; the copy is open by then.
    pub(crate) async fn turn(&self) -> Result<MutexGuard<'_, Cursor>> {
        let mut cursor = self.turn.lock().await;
        if !cursor.ready {
            let held = self.held();
            (cursor.at, cursor.damaged) =
                blocking(move || held.ready().map(|()| (held.position(), held.damaged() > 0))).await?;
            cursor.ready = true;
            let mut seen = self.seen.lock();
            (seen.at, seen.error) = (cursor.at, None);
        }
        if cursor.erasing {
            self.erase_begun().await?;
            cursor.erasing = false;
        }
        Ok(cursor)
    }

    /// Repeats what a crash or a failure came between; the record keeps an erasure as begun until every copy is through.
    async fn erase_begun(&self) -> Result<()> {
        let (subjects, held) = (self.ledger.erasures_begun().await?, self.held());
        blocking(move || subjects.iter().try_for_each(|subject| held.erase(subject).map(drop))).await
    }

    /// Also of a copy that cannot be opened.
    pub(crate) async fn any_turn(&self) -> MutexGuard<'_, Cursor> {
        self.turn.lock().await
    }

    /// A copy that has nothing yet is built from the record's present state: the log may begin later. So is one whose
    /// position the record voided, and one that was found damaged when it was opened, once; should that fail, it goes
    /// on as it is, and tells its damage.
    async fn turn_once(&self) -> Result<bool> {
        {
            let mut cursor = self.turn().await?;
            let damaged = std::mem::take(&mut cursor.damaged);
            match cursor.at {
                Some(_) if !damaged => match self.step(&mut cursor, None).await {
                    Err(error) if error.code() == VOIDED => self.voided(&error),
                    stepped => return stepped,
                },
                None if self.ledger.published()?.is_none() => return Ok(false),
                Some(_) | None => {}
            }
        }
        self.rebuild().await.map(|_| true)
    }

    fn voided(&self, error: &Error) {
        tracing::error!(
            copy = self.name(),
            code = VOIDED,
            "the record came back with another life of its log; this copy is made anew from it: {error}"
        );
        let mut seen = self.seen.lock();
        seen.rebuilt_because = Some(VOIDED);
        seen.error = Some((VOIDED.to_owned(), "the record came back with another life; the copy is made anew".into()));
    }

    fn note(&self, error: &Error) {
        let mut seen = self.seen.lock();
        let told = (error.code().to_owned(), error.to_string());
        if seen.error.as_ref() != Some(&told) {
            tracing::warn!(copy = self.name(), code = error.code(), "a copy does not go on: {error}");
        }
        seen.error = Some(told);
    }

    /// Asked between batches: a stop waits for one batch, never for a whole rebuild.
    pub(crate) fn going_on(&self) -> Result<()> {
        if *self.stop.borrow() {
            return Err(Error::retry("stopping", "the server stops; what was begun on this copy is left undone"));
        }
        Ok(())
    }

    /// Whatever is read of the record from now on is not before this.
    pub(crate) fn start(&self) -> Result<Position> {
        self.ledger.published()?.ok_or_else(|| Error::retry("record-starting", "the record is opening"))
    }

    /// The next changes that concern this copy, not beyond `until`, and how far was looked; none: that was all.
    pub(crate) async fn changes(
        &self,
        at: Option<Position>,
        until: Option<Position>,
    ) -> Result<Option<(Vec<State>, Position)>> {
        let page = self.ledger.log_after(at, BATCH, Duration::ZERO).await?;
        let through = match until {
            Some(until) if page.next.n > until.n => until,
            _ => page.next,
        };
        if at.is_some_and(|at| at.n >= through.n) {
            return Ok(None);
        }
        let kind = self.shaper.kind();
        let wanted = |change: &ledger::Change| change.position.n <= through.n && change.key.kind == kind;
        let states = page.changes.into_iter().filter(wanted).map(State::Change).collect();
        Ok(Some((states, through)))
    }

    /// One batch, not beyond `until`. False: nothing was left to do.
    pub(crate) async fn step(&self, cursor: &mut Cursor, until: Option<Position>) -> Result<bool> {
        let Some((states, through)) = self.changes(cursor.at, until).await? else {
            self.seen(cursor.at);
            return Ok(false);
        };
        if !states.is_empty() || cursor.remembered.elapsed() >= REMEMBER_EVERY {
            let (held, feed, mut unshaped) = (self.held(), self.feed(), self.unshaped());
            // Opening, shaping and writing take processor time and block on files.
            let followed = blocking(move || {
                let shaped = feed.shaped(&states, &mut unshaped);
                feed.write(&*held, shaped, through, true)?;
                Ok(unshaped)
            });
            self.remember_unshaped(followed.await?);
            cursor.remembered = Instant::now();
        }
        cursor.at = Some(through);
        self.seen(cursor.at);
        Ok(true)
    }

    pub(crate) fn unshaped(&self) -> Unshaped {
        self.seen.lock().unshaped.clone()
    }

    pub(crate) fn remember_unshaped(&self, unshaped: Unshaped) {
        self.seen.lock().unshaped = unshaped;
    }

    /// It goes on: whatever kept it is over.
    fn seen(&self, at: Option<Position>) {
        let published = self.ledger.published().ok().flatten().map_or(0, |published| published.n);
        let mut seen = self.seen.lock();
        let behind = at.map_or(0, |at| at.n) < published;
        seen.behind_since = behind.then(|| seen.behind_since.unwrap_or_else(Instant::now));
        (seen.at, seen.error) = (at, None);
    }

    /// The new generation takes the place of the old one.
    pub(crate) fn replace(&self, cursor: &mut Cursor, fresh: Arc<dyn Projection>, head: Position, unshaped: Unshaped) {
        *self.held.write() = fresh;
        (cursor.ready, cursor.at, cursor.remembered) = (true, Some(head), Instant::now());
        self.remember_unshaped(unshaped);
        self.seen(cursor.at);
    }

    pub async fn erase(&self, subject: &Subject) -> Result<()> {
        let mut cursor = self.turn.lock().await;
        let (held, subject) = (self.held(), subject.clone());
        let erased = blocking(move || held.erase(&subject)).await.map(drop);
        cursor.erasing |= erased.is_err();
        erased
    }
}
