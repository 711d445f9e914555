//! One copy: its pump, and the verbs that hold the pump while they look.

use crate::{
    Shaper, blocking,
    compare::{self, Difference, Found},
};
use ledger::{Ledger, Resource};
use model::{Error, ErrorKind, Position, ResourceKey, Result, Subject};
use parking_lot::{Mutex, RwLock};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use stores::{ChangeBatch, CopyChange, Entry, KeyRange, Projection, digest, vectors::VectorSearch};
use tokio::sync::{Mutex as Turn, MutexGuard, watch};

/// Changes in one batch: bounds the memory of a pump.
const BATCH: usize = 500;
/// A copy whose changes are rare still remembers how far it is, this often.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_millis(500);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Copy {
    ledger: Ledger,
    shaper: Arc<dyn Shaper>,
    held: RwLock<Arc<dyn Projection>>,
    /// Where the pump is in the log. Whoever holds it is the only one who changes the copy.
    turn: Turn<Cursor>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Cursor {
    /// The copy is open, and `at` is where it stands.
    ready: bool,
    at: Option<Position>,
    /// It was damaged when it was opened, and nothing was done about it yet.
    damaged: bool,
    remembered: Instant,
}

#[derive(Debug)]
struct Seen {
    at: Option<Position>,
    /// Since when there is something that was not applied yet.
    behind_since: Option<Instant>,
    error: Option<(String, String)>,
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
    /// Code and words of what keeps it from going on.
    pub error: Option<(String, String)>,
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
}

impl Copy {
    pub fn new(ledger: Ledger, held: Arc<dyn Projection>, shaper: Arc<dyn Shaper>) -> Self {
        let cursor = Cursor { ready: false, at: None, damaged: false, remembered: Instant::now() };
        let loading = ("copy-loading".to_owned(), "the copy is being opened".to_owned());
        let seen = Seen { at: None, behind_since: None, error: Some(loading) };
        Self { ledger, shaper, held: RwLock::new(held), turn: Turn::new(cursor), seen: Mutex::new(seen) }
    }

    pub fn name(&self) -> &'static str {
        self.held().name()
    }

    fn held(&self) -> Arc<dyn Projection> {
        Arc::clone(&self.held.read())
    }

    pub fn vectors(&self) -> Option<Arc<dyn VectorSearch>> {
        self.held().as_vectors()
    }

    pub fn status(&self) -> Status {
        let (held, seen) = (self.held(), self.seen.lock());
        let published = self.ledger.published().ok().flatten().map_or(0, |position| position.n);
        Status {
            name: held.name(),
            generation: held.generation(),
            position: seen.at,
            lag_changes: published.saturating_sub(seen.at.map_or(0, |position| position.n)),
            lag_seconds: seen.behind_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            damaged: held.damaged(),
            error: seen.error.clone(),
        }
    }

    /// Until told to stop. What can pass is tried again; what cannot is told in `status`, and tried again less often:
    /// a rebuild or a new version may mend it.
    pub async fn pump(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut published = self.ledger.watch_published();
        let mut pause = PAUSE_FIRST;
        while !*stop.borrow() {
            let stepped = self.turn_once().await;
            let wait = match stepped {
                Ok(true) => {
                    pause = PAUSE_FIRST;
                    continue;
                }
                Ok(false) => IDLE,
                Err(error) => {
                    self.note(&error);
                    pause = (pause * 2).min(PAUSE_MOST);
                    if error.kind() == ErrorKind::Retry { pause } else { PAUSE_MOST }
                }
            };
            tokio::select! {
                _ = stop.changed() => return,
                _ = published.changed(), if wait == IDLE => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whoever holds it is the only one who changes the copy; the copy is open by then.
    async fn turn(&self) -> Result<MutexGuard<'_, Cursor>> {
        let mut cursor = self.turn.lock().await;
        if !cursor.ready {
            let held = self.held();
            (cursor.at, cursor.damaged) =
                blocking(move || held.ready().map(|()| (held.position(), held.damaged() > 0))).await?;
            cursor.ready = true;
            let mut seen = self.seen.lock();
            (seen.at, seen.error) = (cursor.at, None);
        }
        Ok(cursor)
    }

    /// A copy that has nothing yet is built from the record's present state: the log may begin later. So is one that
    /// was found damaged when it was opened, once; should that fail, it goes on as it is, and tells its damage.
    async fn turn_once(&self) -> Result<bool> {
        let anew = {
            let mut cursor = self.turn().await?;
            let damaged = std::mem::take(&mut cursor.damaged);
            match cursor.at {
                Some(_) if !damaged => return self.step(&mut cursor, None).await,
                Some(_) => true,
                None => self.ledger.published()?.is_some(),
            }
        };
        if anew { self.rebuild().await.map(|_| true) } else { Ok(false) }
    }

    fn note(&self, error: &Error) {
        let mut seen = self.seen.lock();
        let told = (error.code().to_owned(), error.to_string());
        if seen.error.as_ref() != Some(&told) {
            tracing::warn!(copy = self.name(), code = error.code(), "a copy does not go on: {error}");
        }
        seen.error = Some(told);
    }

    /// One batch, not beyond `until`. False: nothing was left to do.
    async fn step(&self, cursor: &mut Cursor, until: Option<Position>) -> Result<bool> {
        let page = self.ledger.log_after(cursor.at, BATCH, Duration::ZERO).await?;
        let within = |position: Position| until.is_none_or(|until| position.n <= until.n);
        let through = match until {
            Some(until) if page.next.n > until.n => until,
            _ => page.next,
        };
        if cursor.at.is_some_and(|at| at.n >= through.n) {
            self.seen(cursor.at, page.published);
            return Ok(false);
        }
        let kind = self.shaper.kind();
        let wanted = page.changes.iter().filter(|change| within(change.position) && change.key.kind == kind);
        let resources = wanted.map(|change| self.ledger.state_of(change)).collect::<Result<Vec<_>>>()?;
        if !resources.is_empty() || until.is_some() || cursor.remembered.elapsed() >= REMEMBER_EVERY {
            self.apply(resources, through).await?;
            cursor.remembered = Instant::now();
        }
        cursor.at = Some(through);
        self.seen(cursor.at, page.published);
        Ok(true)
    }

    /// It goes on: whatever kept it is over.
    fn seen(&self, at: Option<Position>, published: Position) {
        let mut seen = self.seen.lock();
        let behind = at.map_or(0, |at| at.n) < published.n;
        seen.behind_since = behind.then(|| seen.behind_since.unwrap_or_else(Instant::now));
        (seen.at, seen.error) = (at, None);
    }

    /// Shaping and writing take processor time and block on files.
    async fn apply(&self, resources: Vec<Resource>, through: Position) -> Result<()> {
        let (held, shaper) = (self.held(), Arc::clone(&self.shaper));
        blocking(move || {
            let changes = resources.iter().map(|resource| shaper.shape(resource)).collect::<Result<_>>()?;
            held.apply(&ChangeBatch { through, changes })
        })
        .await
    }

    /// Everything the copy should hold, in one snapshot of the record.
    async fn record(&self) -> Result<(Vec<Resource>, Position)> {
        self.ledger.everywhere(self.shaper.kind()).await
    }

    /// The same, and the copy brought to exactly that position.
    async fn at_record(&self, cursor: &mut Cursor) -> Result<(Vec<Resource>, Position)> {
        let (resources, head) = self.record().await?;
        while cursor.at.is_none_or(|at| at.n < head.n) && self.step(cursor, Some(head)).await? {}
        Ok((resources, head))
    }

    pub async fn verify(&self) -> Result<Verified> {
        let mut cursor = self.turn().await?;
        let (resources, head) = self.at_record(&mut cursor).await?;
        self.compared(resources, head).await
    }

    async fn compared(&self, resources: Vec<Resource>, position: Position) -> Result<Verified> {
        let (held, shaper) = (self.held(), Arc::clone(&self.shaper));
        blocking(move || {
            let shaped = resources.iter().map(|resource| Ok(digest::of_change(&shaper.shape(resource)?)));
            let mut expected: Vec<Entry> = shaped.collect::<Result<_>>()?;
            expected.retain(|entry| entry.objects > 0);
            expected.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
            let mut found = Found::default();
            compare::compare(&*held, &expected, KeyRange::ALL, &mut found)?;
            Ok(Verified {
                name: held.name(),
                generation: held.generation(),
                position,
                keys: expected.len() as u64,
                objects: expected.iter().map(|entry| u64::from(entry.objects)).sum(),
                differing: found.count,
                differences: found.named,
            })
        })
        .await
    }

    /// Also of a copy that cannot be opened.
    pub async fn rebuild(&self) -> Result<Verified> {
        let mut cursor = self.turn.lock().await;
        let (resources, head) = self.record().await?;
        let (held, shaper) = (self.held(), Arc::clone(&self.shaper));
        let (fresh, resources) = blocking(move || {
            let fresh = held.begin()?;
            for some in resources.chunks(BATCH) {
                let changes = some.iter().map(|resource| shaper.shape(resource)).collect::<Result<_>>()?;
                fresh.apply(&ChangeBatch { through: head, changes })?;
            }
            if resources.is_empty() {
                fresh.apply(&ChangeBatch { through: head, changes: Vec::new() })?;
            }
            fresh.adopt()?;
            Ok((fresh, resources))
        })
        .await?;
        *self.held.write() = fresh;
        (cursor.ready, cursor.at) = (true, Some(head));
        self.seen(cursor.at, head);
        self.compared(resources, head).await
    }

    pub async fn repair(&self, keys: &[ResourceKey]) -> Result<u64> {
        let mut cursor = self.turn().await?;
        let (resources, head) = self.at_record(&mut cursor).await?;
        let (held, shaper, keys) = (self.held(), Arc::clone(&self.shaper), keys.to_vec());
        blocking(move || {
            let mut changes = Vec::with_capacity(keys.len());
            for key in keys {
                changes.push(match resources.iter().find(|resource| resource.key == key) {
                    Some(resource) => shaper.shape(resource)?,
                    None => absent(key, head),
                });
            }
            let count = changes.len() as u64;
            held.apply(&ChangeBatch { through: head, changes })?;
            Ok(count)
        })
        .await
    }

    pub async fn erase(&self, subject: &Subject) -> Result<()> {
        let _turn = self.turn.lock().await;
        let (held, subject) = (self.held(), subject.clone());
        blocking(move || held.erase(&subject)).await.map(drop)
    }
}

/// A key that the record does not have.
fn absent(key: ResourceKey, position: Position) -> CopyChange {
    let subject = Subject::of_tenant(&key.tenant);
    CopyChange { position, key, version: 0, class: model::Class::Internal, subject, objects: Vec::new() }
}
