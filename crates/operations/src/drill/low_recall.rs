//! A vector index that is asked with too little effort: the monitor's bound falls under its target, the controller raises
//! the effort, and the bound comes back. Index, monitor and controller are those of the server, in this process.

use super::{outside::failed, work::scatter};
use model::{Class, Incarnation, Kind, Position, ResourceKey, Result, Shard, Subject, Tenant};
use relay::recall::{Compared, Effort, Figures, Monitor, Sample, Settings, Step};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use stores::{
    Body, ChangeBatch, CopyChange, Object, Projection,
    embed::{Embedder, HashEmbedder},
    vectors::{Basis, CopyKeys, Filter, Policy, Search, VectorIndex, VectorSearch},
};

pub const NAME: &str = "low-recall";
pub const ABOUT: &str = "the vector index is asked with too little effort; the bound of its recall has to come back";

const DIMENSIONS: usize = 384;
const LIMIT: usize = 10;
const BATCH: usize = 1_000;
/// Samples without a raise that end the drill: a full window of the monitor.
const ENOUGH: usize = 200;
const ROUNDS_MOST: usize = 20;
/// Words of a passage that make a question.
const WORDS: usize = 12;
const ALL: Filter = Filter { class_max: Class::Confidential, source: None };

#[derive(Debug, Clone)]
pub struct Plan {
    /// The graph, or the scan.
    pub graph: bool,
    /// Of the generated corpus.
    pub vectors: usize,
    /// JSON lines with a `text` each, instead of the generated ones.
    pub corpus: Option<PathBuf>,
    pub target: f64,
    pub seed: u64,
    pub evidence: PathBuf,
}

impl Plan {
    /// With which the drill begins.
    fn effort(&self) -> Effort {
        match self.graph {
            true => Effort { ef: 8, ..Effort::DEFAULT },
            false => Effort { rescore: 1, ..Effort::DEFAULT },
        }
    }
}

/// Questions asked with one effort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub ef: usize,
    pub rescore: usize,
    pub questions: usize,
    pub mean: f64,
    pub p5: f64,
    pub zero: usize,
    /// With 95 % confidence the mean is above.
    pub bound: Option<f64>,
    /// Vectors of exact answers that did not come with the most effort: told, and no finding, a graph reaches nearly all.
    pub missing: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub drill: String,
    pub began: String,
    pub seed: u64,
    /// `hnsw` or `flat`, and why, as `status` explains it.
    pub index: String,
    pub why: String,
    pub vectors: usize,
    pub target: f64,
    pub rounds: Vec<Round>,
}

impl Report {
    /// Everything that is not as it must be, in words; empty when the drill passed.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut found = Vec::new();
        let under = |round: &Round| round.bound.is_some_and(|bound| bound < self.target);
        match (self.rounds.first(), self.rounds.last()) {
            (Some(first), _) if !under(first) => {
                found.push("the bound was not under the target at first, so nothing was tested".to_owned());
            }
            (Some(_), Some(last)) if under(last) || last.bound.is_none() || self.rounds.len() < 2 => {
                found.push("the bound did not come back above the target".to_owned());
            }
            (Some(_), Some(_)) => {}
            _ => found.push("no question was asked".to_owned()),
        }
        found
    }
}

const REPORT: &str = "report.json";
const RECALLS: &str = "recalls.jsonl";

fn unusable(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> model::Error {
    model::Error::retry("drill-evidence-unusable", "the evidence of a drill cannot be read or written")
        .with("path", path.display())
        .caused_by(error)
}

/// `None`: the evidence is another drill's.
pub fn load(directory: &Path) -> Result<Option<Report>> {
    let path = directory.join(REPORT);
    let text = fs::read(&path).map_err(|error| unusable(&path, error))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| unusable(&path, error))?;
    if value["drill"] != NAME {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(|error| unusable(&path, error))
}

fn save(directory: &Path, report: &Report, recalls: &[Vec<f64>]) -> Result<()> {
    let lines: Vec<String> = recalls.iter().map(|round| format!("{}\n", serde_json::json!(round))).collect();
    let text = serde_json::to_vec_pretty(report).map_err(|error| unusable(directory, error))?;
    for (name, bytes) in [(REPORT, text), (RECALLS, lines.concat().into_bytes())] {
        let path = directory.join(name);
        fs::write(&path, bytes).map_err(|error| unusable(&path, error))?;
    }
    Ok(())
}

/// Computes every figure again from the saved recalls; what differs is named.
pub fn verify(directory: &Path, report: &Report) -> Result<Vec<String>> {
    let path = directory.join(RECALLS);
    let text = fs::read_to_string(&path).map_err(|error| unusable(&path, error))?;
    let rounds: serde_json::Result<Vec<Vec<f64>>> = text.lines().map(serde_json::from_str).collect();
    let rounds = rounds.map_err(|error| unusable(&path, error))?;
    let mut differences = Vec::new();
    if rounds.len() != report.rounds.len() {
        differences.push(format!("the report has {} rounds, the recalls {}", report.rounds.len(), rounds.len()));
    }
    for (number, (recalls, told)) in (1..).zip(rounds.iter().zip(&report.rounds)) {
        let again = Figures::of(recalls);
        if !again.is_some_and(|again| same(told, &again)) {
            differences.push(format!("round {number}: the report says bound {:?}, the recalls {again:?}", told.bound));
        }
    }
    Ok(differences)
}

/// But for the last digit, which a number may lose on its way through a file.
fn same(told: &Round, again: &Figures) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let bounds = match (told.bound, again.bound) {
        (Some(told), Some(again)) => near(told, again),
        (told, again) => told.is_none() && again.is_none(),
    };
    let counts = (told.questions, told.zero) == (again.n, again.zero);
    counts && bounds && near(told.mean, again.mean) && near(told.p5, again.p5)
}

/// Blocks. `place` is the index's; the caller removes it. `tell` hears how it goes.
pub fn run(plan: &Plan, place: &Path, tell: &dyn Fn(String)) -> Result<Report> {
    let began = crate::clock::wall().to_string();
    let tenant = Tenant::new("drill")?;
    let (corpus, questions) = match &plan.corpus {
        None => generated(plan),
        Some(path) => imported(path)?,
    };
    tell(format!("indexing {} vectors", corpus.len()));
    let vectors = corpus.len();
    let index = indexed(plan, place, &tenant, corpus)?;
    if plan.graph {
        tell("building the graph".into());
        graphed(&index, &tenant, &questions)?;
    }
    let explained = index.explained(Some(&tenant)).into_iter().next().ok_or_else(|| failed("the index is empty"))?;
    let mut drill = Drill::new(plan, &tenant, index);
    let (mut rounds, mut recalls) = (Vec::new(), Vec::new());
    let mut asked = questions.iter().cycle();
    while rounds.len() < ROUNDS_MOST {
        let (round, measured, step) = drill.round(&mut asked)?;
        tell(told(&round, plan.target, step));
        rounds.push(round);
        recalls.push(measured);
        if step != Step::Raised {
            break;
        }
    }
    let (index, why) = (explained.index.to_owned(), explained.why);
    let report =
        Report { drill: NAME.into(), began, seed: plan.seed, index, why, vectors, target: plan.target, rounds };
    save(&plan.evidence, &report, &recalls)?;
    Ok(report)
}

fn told(round: &Round, target: f64, step: Step) -> String {
    let bound = round.bound.map_or_else(|| "none".to_owned(), |bound| format!("{bound:.4}"));
    let then = match step {
        Step::Raised => "under it: more effort",
        Step::Exhausted => "under it, with the most effort there is",
        Step::Stay | Step::Lowered => "above it",
    };
    format!(
        "ef {}, rescore {}: {} questions, mean {:.4}, p5 {:.2}, without any {}, bound {bound}, target {target}: {then}",
        round.ef, round.rescore, round.questions, round.mean, round.p5, round.zero
    )
}

struct Drill {
    monitor: Monitor,
    vectors: Arc<dyn VectorSearch>,
    tenant: Tenant,
}

impl Drill {
    fn new(plan: &Plan, tenant: &Tenant, vectors: Arc<VectorIndex>) -> Self {
        let monitor = Monitor::new(Settings { every: 1, target: plan.target, effort: plan.effort() });
        Self { monitor, vectors, tenant: tenant.clone() }
    }

    fn effort(&self) -> Effort {
        self.monitor.shown().first().map_or(Effort::DEFAULT, |shown| shown.effort)
    }

    /// Until the effort changes, or a full window was above the target.
    fn round<'q>(&mut self, questions: &mut impl Iterator<Item = &'q Vec<f32>>) -> Result<(Round, Vec<f64>, Step)> {
        let (mut recalls, mut missing, mut effort, mut last) = (Vec::new(), 0, None, Step::Stay);
        while recalls.len() < ENOUGH && last == Step::Stay {
            let Some(vector) = questions.next() else { break };
            let search = Search { vector, limit: LIMIT, rescore: 0, ef: 0, filter: &ALL };
            self.monitor.search(&self.vectors, &self.tenant, &search)?;
            effort.get_or_insert(self.effort());
            let Some((compared, step)) = self.compared()? else { continue };
            missing += compared.missing.len();
            recalls.push(compared.recall);
            last = step;
        }
        let figures = Figures::of(&recalls).ok_or_else(|| failed("no question could be compared"))?;
        let Effort { ef, rescore } = effort.unwrap_or(Effort::DEFAULT);
        let Figures { n, mean, p5, zero, bound } = figures;
        Ok((Round { ef, rescore, questions: n, mean, p5, zero, bound, missing }, recalls, last))
    }

    fn compared(&self) -> Result<Option<(Compared, Step)>> {
        let sample: Option<Sample> = self.monitor.next();
        sample.map_or(Ok(None), |sample| self.monitor.compare(&sample))
    }
}

#[derive(Debug)]
struct OneKey;

impl CopyKeys for OneKey {
    fn take(&self) -> Result<u64> {
        Ok(1)
    }
    fn derive(&self, _: u64, _: &[u8]) -> Result<[u8; 32]> {
        Ok([7; 32])
    }
}

fn indexed(plan: &Plan, place: &Path, tenant: &Tenant, corpus: Vec<Vec<f32>>) -> Result<Arc<VectorIndex>> {
    // Every scan misses its objective: the graph is what is tested.
    let eager = Policy { from: Some(1), objective: Duration::ZERO, ..Policy::default() };
    let policy = if plan.graph { eager } else { Policy { from: None, ..eager } };
    let basis = Basis { model: NAME.into(), dimensions: DIMENSIONS, keys: Arc::new(OneKey), policy };
    let index = VectorIndex::open(place, &basis)?;
    let position = |n: u64| Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n };
    let mut changes = Vec::new();
    for (n, values) in (1..).zip(corpus) {
        let body = Body::Vector { model: NAME.into(), source: NAME.into(), values: values.into() };
        changes.push(CopyChange {
            position: position(n),
            key: ResourceKey::new(tenant, Kind::KnowledgeDocument, &n.to_string())?,
            version: 1,
            class: Class::Internal,
            subject: Subject::of_tenant(tenant),
            objects: vec![Object { ordinal: 0, body }],
        });
        if changes.len() >= BATCH {
            index.apply(&ChangeBatch { through: position(n), changes: std::mem::take(&mut changes) })?;
        }
    }
    if let Some(through) = changes.last().map(|change| change.position) {
        index.apply(&ChangeBatch { through, changes })?;
    }
    Ok(index)
}

/// Searches until the graph serves.
fn graphed(index: &VectorIndex, tenant: &Tenant, questions: &[Vec<f32>]) -> Result<()> {
    for vector in questions.iter().cycle() {
        let search = Search { vector, limit: LIMIT, rescore: LIMIT, ef: LIMIT, filter: &ALL };
        index.search(tenant, &search)?;
        let explained = index.explained(Some(tenant)).into_iter().next();
        match explained {
            Some(explained) if explained.index == "hnsw" => return Ok(()),
            Some(explained) if explained.why.contains("memory") || explained.why.contains("could not be built") => {
                return Err(failed(format!("there is no graph: {}", explained.why)));
            }
            // The scans are the builder's neighbours: leave it the processor.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err(failed("there is no question"))
}

/// The vectors that are searched, and those that are asked for.
type Corpus = (Vec<Vec<f32>>, Vec<Vec<f32>>);

/// Clustered vectors of length 1, and other ones of the same clusters to ask for.
fn generated(plan: &Plan) -> Corpus {
    let vector = |number: u64| {
        let centre = scatter(plan.seed, number % 1_000 + (1 << 40));
        let own = scatter(plan.seed, number);
        let roll = |seed: u64, n: u64| (scatter(seed, n) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        shortened((0..DIMENSIONS as u64).map(|n| roll(centre, n) + 0.8 * roll(own, n)).collect())
    };
    let count = plan.vectors as u64;
    ((0..count).map(vector).collect(), (count..count + ENOUGH as u64 * 5).map(vector).collect())
}

fn shortened(raw: Vec<f32>) -> Vec<f32> {
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}

/// Passages of a file, and their beginnings to ask for.
fn imported(path: &Path) -> Result<Corpus> {
    let unreadable = |what: String| failed(format!("the corpus cannot be used: {what}")).with("path", path.display());
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let mut texts = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let row: serde_json::Value = serde_json::from_str(line).map_err(|error| unreadable(error.to_string()))?;
        texts.extend(row["text"].as_str().map(str::to_owned));
    }
    let of = |texts: Vec<&str>| -> Result<Vec<Vec<f32>>> {
        let made = HashEmbedder.embed(&texts)?;
        Ok(made.into_iter().filter(|vector| vector.iter().any(|value| *value != 0.0)).collect())
    };
    let beginnings: Vec<String> =
        texts.iter().map(|text| text.split_whitespace().take(WORDS).collect::<Vec<_>>().join(" ")).collect();
    let corpus = of(texts.iter().map(String::as_str).collect())?;
    if corpus.len() < LIMIT {
        return Err(unreadable("fewer than ten rows have a text".into()));
    }
    Ok((corpus, of(beginnings.iter().map(String::as_str).collect())?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn drilled(graph: bool, root: &Path) -> Report {
        let evidence = root.join("evidence");
        fs::create_dir(&evidence).unwrap();
        let plan = Plan { graph, vectors: 1_500, corpus: None, target: 0.95, seed: 5, evidence };
        run(&plan, &root.join("index"), &|text| println!("{text}")).unwrap()
    }

    #[test]
    fn a_report_that_did_not_come_back_or_tested_nothing_has_findings() {
        let round = |bound| Round { ef: 8, rescore: 50, questions: 50, mean: 0.9, p5: 0.5, zero: 0, bound, missing: 0 };
        let report = |bounds: &[Option<f64>]| Report {
            target: 0.95,
            rounds: bounds.iter().map(|bound| round(*bound)).collect(),
            ..Report::default()
        };
        assert!(report(&[Some(0.6), Some(0.97)]).findings().is_empty());
        assert!(report(&[Some(0.96)]).findings()[0].contains("nothing was tested"));
        for bounds in [&[Some(0.6), Some(0.8)][..], &[Some(0.6)], &[Some(0.6), None]] {
            assert!(report(bounds).findings()[0].contains("did not come back"), "{bounds:?}");
        }
        assert_eq!(report(&[]).findings(), ["no question was asked"]);
    }

    #[test]
    fn the_graphs_recall_falls_and_comes_back_and_its_evidence_says_the_same_again() {
        let root = tempfile::tempdir().unwrap();
        let report = drilled(true, root.path());
        assert_eq!((report.index.as_str(), report.findings()), ("hnsw", Vec::new()));
        let evidence = root.path().join("evidence");
        let loaded = load(&evidence).unwrap().unwrap();
        assert_eq!((verify(&evidence, &loaded).unwrap(), loaded.rounds.len()), (Vec::new(), report.rounds.len()));
        let path = evidence.join(RECALLS);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("0.", "1.", 20)).unwrap();
        assert!(!verify(&evidence, &loaded).unwrap().is_empty());
    }
}
