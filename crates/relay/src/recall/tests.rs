#![allow(clippy::unwrap_used)]

use super::*;
use model::{Class, Incarnation, Kind, Position, ResourceKey, Result, Shard, Tenant};
use std::sync::Arc;
use stores::vectors::{EF, Explained, Filter, Hit, RESCORE, Search, Stats, VectorSearch};

const ALL: Filter = Filter { class_max: Class::Restricted, source: None };

/// Twenty answers, of which a search with few candidates finds each other one.
#[derive(Debug, Clone, Copy)]
struct Fake {
    index: &'static str,
    /// Candidates with which all are found.
    enough: usize,
    /// Never found approximately.
    lost: Option<u64>,
    reached: u64,
}

const GRAPH: Fake = Fake { index: "hnsw", enough: 0, lost: None, reached: 100 };

fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n }
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn answers(limit: usize, which: impl Fn(u64) -> bool) -> Vec<Hit> {
    let hit = |n: u64| Hit {
        key: ResourceKey::new(&tenant(), Kind::KnowledgeDocument, &format!("d{n}")).unwrap(),
        version: 1,
        position: at(n),
        class: Class::Internal,
        ordinal: 0,
        score: 1.0 - n as f32 / 100.0,
    };
    (1..=20).filter(|n| which(*n)).map(hit).take(limit).collect()
}

impl VectorSearch for Fake {
    fn search(&self, _: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        let tried = if self.index == "hnsw" { search.ef } else { search.rescore };
        let found = |n: u64| Some(n) != self.lost && (tried >= self.enough || n.is_multiple_of(2));
        Ok(answers(search.limit, found))
    }
    fn search_exact(&self, _: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        Ok(answers(search.limit, |_| true))
    }
    fn reached(&self) -> Option<Position> {
        Some(at(self.reached))
    }
    fn stats(&self) -> Stats {
        Stats {
            model: "fake".into(),
            dimensions: 1,
            documents: 20,
            vectors: 20,
            tombstones: 0,
            damaged: 0,
            code_bytes: 0,
            resident_bytes: 0,
            disk_bytes: 0,
        }
    }
    fn explained(&self, _: Option<&Tenant>) -> Vec<Explained> {
        let (index, why) = (self.index, String::new());
        vec![Explained { tenant: tenant(), index, why, vectors: 20, scan_p95: None, graph_bytes: 0 }]
    }
}

fn ask(monitor: &Monitor, fake: Fake, tenant: &Tenant) -> usize {
    let vectors: Arc<dyn VectorSearch> = Arc::new(fake);
    let search = Search { vector: &[1.0], limit: 10, rescore: RESCORE, ef: EF, filter: &ALL };
    monitor.search(&vectors, tenant, &search).unwrap().len()
}

fn chosen(monitor: &Monitor) -> usize {
    std::iter::from_fn(|| monitor.next()).count()
}

#[test]
fn the_first_of_each_tenant_and_then_one_of_so_many_is_chosen() {
    let monitor = Monitor::new(Settings { every: 3, ..Settings::default() });
    (0..7).for_each(|_| assert_eq!(ask(&monitor, GRAPH, &tenant()), 10));
    assert_eq!(chosen(&monitor), 3);
    ask(&monitor, GRAPH, &Tenant::new("other").unwrap());
    assert_eq!((chosen(&monitor), monitor.skipped()), (1, 0));
    let none = Monitor::new(Settings { every: 0, ..Settings::default() });
    for _ in 0..7 {
        ask(&none, GRAPH, &tenant());
    }
    assert_eq!(chosen(&none), 0);
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted_and_no_search_waits() {
    let monitor = Monitor::new(Settings { every: 1, ..Settings::default() });
    (0..70).for_each(|_| assert_eq!(ask(&monitor, GRAPH, &tenant()), 10));
    assert_eq!((monitor.skipped(), chosen(&monitor)), (6, 64));
}

/// Asks and compares so often; the steps that are not `Stay`.
fn rounds(monitor: &Monitor, fake: Fake, times: usize) -> Vec<Step> {
    let one = |_| {
        ask(monitor, fake, &tenant());
        let (_, step) = monitor.compare(&monitor.next().unwrap()).unwrap().unwrap();
        step
    };
    (0..times).map(one).filter(|step| *step != Step::Stay).collect()
}

#[test]
fn a_tenants_effort_is_raised_until_its_searches_find_what_there_is() {
    let settings = Settings { every: 1, effort: Effort { ef: 8, rescore: 1 }, ..Settings::default() };
    for index in ["hnsw", "flat"] {
        let monitor = Monitor::new(settings);
        let fake = Fake { index, enough: 40, ..GRAPH };
        assert_eq!(rounds(&monitor, fake, 50), [Step::Raised]);
        assert!(monitor.shown()[0].figures.is_none());
        let steps = rounds(&monitor, fake, 400);
        assert!(steps.iter().all(|step| *step == Step::Raised), "{steps:?}");
        let shown = monitor.shown().remove(0);
        let (changed, same) = if index == "hnsw" {
            (shown.effort.ef, shown.effort.rescore == 1)
        } else {
            (shown.effort.rescore, shown.effort.ef == 8)
        };
        assert!((40..=68).contains(&changed) && same, "{shown:?}");
        assert!(shown.figures.unwrap().bound.unwrap() > 0.95, "{shown:?}");
        // Of others nothing is known.
        assert_eq!(ask(&monitor, fake, &Tenant::new("other").unwrap()), 10);
        assert_eq!(monitor.shown()[1].effort, settings.effort);
    }
}

#[test]
fn what_does_not_come_with_the_most_effort_is_named_and_what_does_is_not() {
    let monitor = Monitor::new(Settings { every: 1, ..Settings::default() });
    ask(&monitor, Fake { lost: Some(3), ..GRAPH }, &tenant());
    let (compared, _) = monitor.compare(&monitor.next().unwrap()).unwrap().unwrap();
    assert_eq!(compared.missing.iter().map(|(key, _)| key.id.to_string()).collect::<Vec<_>>(), ["d3"]);
    assert!((compared.recall - 0.9).abs() < 1e-9);
    ask(&monitor, Fake { enough: 500, ..GRAPH }, &tenant());
    let (compared, _) = monitor.compare(&monitor.next().unwrap()).unwrap().unwrap();
    assert_eq!((compared.recall, compared.missing.len(), monitor.shown()[0].missing), (0.5, 0, 1));
}

#[test]
fn what_was_written_after_the_question_does_not_count_against_it() {
    let monitor = Monitor::new(Settings { every: 1, ..Settings::default() });
    // The seventh is later than what the copy had reached.
    ask(&monitor, Fake { lost: Some(7), reached: 6, ..GRAPH }, &tenant());
    let (compared, _) = monitor.compare(&monitor.next().unwrap()).unwrap().unwrap();
    assert_eq!((compared.recall, compared.missing), (1.0, vec![]));
}
