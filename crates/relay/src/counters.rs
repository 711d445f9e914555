//! The counters of documents in the metrics copy against the record: each sample names the stretch of the log that it
//! counts, so what it says is compared with what the log holds there.

use ledger::{ChangeAction, Ledger};
use model::{Error, Kind, Position, Result, Tenant};
use std::collections::{BTreeMap, BTreeSet};
use stores::metrics::{SCRAPE_JOB, Series, Tier};

const FROM: &str = "nephkeep_documents_counted_from_position";
const THROUGH: &str = "nephkeep_documents_counted_position";
const COUNTERS: [(&str, ChangeAction); 3] = [
    ("nephkeep_intents_created_total", ChangeAction::Created),
    ("nephkeep_intents_updated_total", ChangeAction::Updated),
    ("nephkeep_intents_deleted_total", ChangeAction::Deleted),
];
/// Findings that are named; all are counted.
const NAMED: usize = 100;

/// A counter that says something else than the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscount {
    pub tenant: String,
    pub counter: &'static str,
    /// After this position, through the next.
    pub from: u64,
    pub through: u64,
    pub record: u64,
    pub copy: u64,
}

/// Counters compared with the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// The last position that a compared sample names.
    pub position: Position,
    /// Counting begins anew with each start of a server.
    pub lives: u64,
    pub counters: u64,
    /// Changes counted by them.
    pub changes: u64,
    /// Changes after a life's last sample and before the next life: the server ended between two scrapes.
    pub unsampled: u64,
    pub differing: u64,
    /// The first hundred.
    pub differences: Vec<Miscount>,
}

/// One page, as it was kept: when, of which server, what it counted of which stretch.
#[derive(Debug, Default)]
struct Page {
    from: Option<u64>,
    through: Option<u64>,
    incarnation: String,
    counts: BTreeMap<(&'static str, String), u64>,
}

/// A scrape: the instance and the milliseconds.
type Scrape = (String, i64);
/// A life's last page by instance and begin.
type Lives = BTreeMap<(String, u64), Page>;

/// Compares the last page of every life in the last `window_s` seconds. `tenant` is the one our own page is kept for.
pub async fn reconcile(ledger: &Ledger, tier: &Tier, tenant: &Tenant, window_s: u64) -> Result<Reconciled> {
    let head = ledger.published()?.ok_or_else(|| Error::retry("record-starting", "the record is opening"))?;
    let lives = lives(pages(tier, tenant, window_s).await?, &head.incarnation.to_string());
    let last = lives.values().filter_map(|page| page.through).max().ok_or_else(|| {
        let what = "the metrics hold no page of this record's counters in that time; a server that runs for a minute \
                    has some";
        Error::retry("metrics-nothing-to-compare", what).with("seconds", window_s)
    })?;
    let mut done = Reconciled {
        position: Position { n: last, ..head },
        lives: lives.len() as u64,
        counters: 0,
        changes: 0,
        unsampled: unsampled(&lives),
        differing: 0,
        differences: Vec::new(),
    };
    for ((_, from), page) in &lives {
        compare(ledger, *from, page, &mut done).await?;
    }
    Ok(done)
}

async fn compare(ledger: &Ledger, from: u64, page: &Page, done: &mut Reconciled) -> Result<()> {
    let through = page.through.unwrap_or(from);
    let mut record: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    for ((tenant, kind, action), count) in ledger.count_changes(from, through).await? {
        if let Some((counter, _)) = COUNTERS.iter().find(|(_, counted)| kind == Kind::Intent && *counted == action) {
            record.insert((counter, tenant.as_str().to_owned()), count);
        }
    }
    let keys: BTreeSet<_> = record.keys().chain(page.counts.keys()).cloned().collect();
    for key in keys {
        let (of_record, of_copy) = (of(&record, &key), of(&page.counts, &key));
        done.counters += 1;
        done.changes += of_record;
        if of_record == of_copy {
            continue;
        }
        done.differing += 1;
        if done.differences.len() < NAMED {
            let (counter, tenant) = key;
            done.differences.push(Miscount { tenant, counter, from, through, record: of_record, copy: of_copy });
        }
    }
    Ok(())
}

fn of(counts: &BTreeMap<(&'static str, String), u64>, key: &(&'static str, String)) -> u64 {
    counts.get(key).copied().unwrap_or(0)
}

/// Everything that was kept of the counters, page by page.
async fn pages(tier: &Tier, tenant: &Tenant, window_s: u64) -> Result<BTreeMap<Scrape, Page>> {
    let mut pages: BTreeMap<Scrape, Page> = BTreeMap::new();
    // The scrape's own series: what a writer sends under these names is none.
    let own = |name: &str| format!("{name}{{job=\"{SCRAPE_JOB}\",tenant=\"{tenant}\"}}[{window_s}s]");
    for series in tier.of_all(&own(FROM)).await? {
        each(&series, &mut pages, |page, value| {
            page.from = Some(value);
            series.label("incarnation").unwrap_or_default().clone_into(&mut page.incarnation);
        });
    }
    for series in tier.of_all(&own(THROUGH)).await? {
        each(&series, &mut pages, |page, value| page.through = Some(value));
    }
    for (counter, _) in COUNTERS {
        for series in tier.of_all(&format!("{counter}{{job=\"{SCRAPE_JOB}\"}}[{window_s}s]")).await? {
            let tenant = series.label("tenant").unwrap_or_default().to_owned();
            each(&series, &mut pages, |page, value| _ = page.counts.insert((counter, tenant.clone()), value));
        }
    }
    Ok(pages)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and milliseconds, whole and small")]
fn each(series: &Series, pages: &mut BTreeMap<Scrape, Page>, mut put: impl FnMut(&mut Page, u64)) {
    let instance = series.label("instance").unwrap_or_default();
    for (time, value) in &series.samples {
        let page = pages.entry((instance.to_owned(), (time * 1e3).round() as i64)).or_default();
        put(page, *value as u64);
    }
}

/// The last whole page of each life on this incarnation of the log: an older one's positions may be voided.
fn lives(pages: BTreeMap<Scrape, Page>, incarnation: &str) -> Lives {
    let mut lives = Lives::new();
    for ((instance, _), page) in pages {
        if let (Some(from), Some(_)) = (page.from, page.through)
            && page.incarnation == incarnation
        {
            lives.insert((instance, from), page);
        }
    }
    lives
}

/// What no sample has counted between the lives of each server.
fn unsampled(lives: &Lives) -> u64 {
    let ends = lives.iter().zip(lives.iter().skip(1));
    let gaps = ends.filter(|(((one, _), _), ((next, _), _))| one == next);
    gaps.map(|((_, page), ((_, from), _))| from.saturating_sub(page.through.unwrap_or(*from))).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn page(from: u64, through: u64, incarnation: &str) -> Page {
        Page { from: Some(from), through: Some(through), incarnation: incarnation.into(), ..Page::default() }
    }

    #[test]
    fn each_life_is_judged_by_its_last_page_and_gaps_are_counted() {
        let at = |ms: i64| ("a:1".to_owned(), ms);
        let pages = BTreeMap::from([
            (at(1), page(10, 11, "x")),
            (at(2), page(10, 20, "x")),
            (at(3), page(25, 30, "x")),
            (at(4), page(5, 6, "voided")),
            (at(5), Page { through: None, ..page(99, 0, "x") }),
            (("b:1".to_owned(), 9), page(7, 8, "x")),
        ]);
        let lives = lives(pages, "x");
        let ends: Vec<_> =
            lives.iter().map(|((one, from), page)| (one.as_str(), *from, page.through.unwrap())).collect();
        assert_eq!(ends, [("a:1", 10, 20), ("a:1", 25, 30), ("b:1", 7, 8)]);
        assert_eq!(unsampled(&lives), 5);
    }
}
