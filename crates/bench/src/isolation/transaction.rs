//! Runs one transaction through the HTTP API and says how it ended, never more than it knows.
//!
//! `ok` was acknowledged, `fail` certainly did nothing, everything else is `info`. A request in doubt is either given
//! up at once or repeated under its idempotency key until an answer is certain; that a repeated request happens once
//! is part of what is tested.

use super::{
    door::{Call, Door, Reply},
    history::Workload,
    shape::{self, Form, Seen},
};
use adya::{
    r#gen::{Rng, TxnOp},
    run::Outcome,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long a request in doubt, or one that reaches nobody, is tried again.
const PERSISTENCE: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(40);
/// How often a transaction whose versions have moved on is planned again.
const ATTEMPTS: usize = 8;
/// Refusals that stay true for ever: versions only go up and nothing is deleted here. So an earlier copy of the same
/// request can no longer succeed either.
const FINAL: [&str; 4] = ["version-conflict", "already-exists", "not-found", "precondition-failed"];
/// Refusals that promise that nothing was written. They are taken at their word: a lie shows as a read of what failed.
const UNDONE: [&str; 3] = ["not-leader", "record-unreachable", "shutting-down"];

#[derive(Debug)]
pub struct Client {
    pub door: Door,
    workload: Workload,
    rng: Rng,
    name: String,
    serial: u64,
}

/// What a transaction is to do, after looking at what is there.
struct Plan {
    body: String,
    writes: bool,
    /// In the order of the answer's `reads`.
    asked: Vec<i64>,
    /// Held in place by a precondition: as it was seen before.
    before: BTreeMap<i64, Seen>,
}

enum Committed {
    Receipt(Value),
    Refused(String),
    NotDone(String),
    Unknown(String),
}

/// Why a look at a key failed; looking changes nothing.
type Looked<T> = Result<T, String>;

impl Client {
    pub fn new(door: Door, workload: Workload, name: String, seed: u64) -> Self {
        Self { door, workload, rng: Rng::new(seed), name, serial: 0 }
    }

    pub async fn run(&mut self, steps: &[TxnOp]) -> Outcome {
        let read_only = steps.iter().all(|step| matches!(step, TxnOp::Read(_)));
        let keys: BTreeSet<i64> = steps.iter().map(shape::key_of).collect();
        if let (true, 1, Some(key)) = (read_only && self.rng.chance(0.8), keys.len(), keys.first()) {
            return match self.look(*key).await {
                Ok(seen) => Outcome::Ok(shape::results(steps, &BTreeMap::from([(*key, seen)]))),
                Err(why) => self.failed(why).await,
            };
        }
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            let plan = match self.plan(steps, attempt).await {
                Ok(plan) => plan,
                Err(why) => return self.failed(why).await,
            };
            match self.commit(&plan).await {
                Committed::Receipt(receipt) => return self.finish(steps, plan, &receipt).await,
                Committed::Refused(code) if FINAL.contains(&code.as_str()) => last = code,
                Committed::Refused(why) | Committed::NotDone(why) => return self.failed(why).await,
                Committed::Unknown(_) if !plan.writes => return Outcome::Fail("read not answered".into()),
                Committed::Unknown(why) => return Outcome::Info(why),
            }
        }
        Outcome::Fail(last)
    }

    /// The servers may be down: no need to ask a thousand times a second.
    async fn failed(&mut self, why: String) -> Outcome {
        if self.rng.chance(0.5) {
            self.door.turn();
        }
        sleep(PAUSE).await;
        Outcome::Fail(why)
    }

    async fn plan(&mut self, steps: &[TxnOp], attempt: usize) -> Looked<Plan> {
        let written = shape::written(steps);
        let read: BTreeSet<i64> = steps.iter().filter(|s| matches!(s, TxnOp::Read(_))).map(shape::key_of).collect();
        let (mut writes, mut preconditions, mut before) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (key, new) in &written {
            let form = Form::of(self.workload, *key);
            if form != Form::Whole {
                let document = shape::document(new);
                writes.push(json!({"op": "put", "kind": "configuration", "id": form.id(*key), "document": document}));
                continue;
            }
            // A stale cache would refuse us for ever: after a refusal we look past it.
            let seen = if attempt == 0 { self.look(*key).await? } else { self.look_past_cache(*key).await? };
            let document = shape::document(&[&seen.elements[..], new].concat());
            let mut write = json!({"op": "create", "kind": "configuration", "id": form.id(*key), "document": document});
            if seen.version > 0 {
                write["op"] = "replace".into();
                write["version"] = seen.version.into();
            }
            writes.push(write);
        }
        let mut asked = Vec::new();
        for key in read {
            // Some reads are made before, and held in place by a precondition.
            if written.contains_key(&key) || attempt > 2 || !self.rng.chance(0.4) {
                asked.push(key);
                continue;
            }
            let seen = if attempt == 0 { self.look(key).await? } else { self.look_past_cache(key).await? };
            let id = Form::of(self.workload, key).id(key);
            preconditions.push(match seen.version {
                0 => json!({"kind": "configuration", "id": id, "absent": true}),
                version => json!({"kind": "configuration", "id": id, "version": version}),
            });
            before.insert(key, seen);
        }
        let reads: Vec<Value> = asked.iter().map(|key| reference(self.workload, *key)).collect();
        let body = json!({"reads": reads, "preconditions": preconditions, "writes": writes}).to_string();
        Ok(Plan { body, writes: !writes.is_empty(), asked, before })
    }

    /// Sends the transaction until it is certain what became of it, or gives up.
    async fn commit(&mut self, plan: &Plan) -> Committed {
        self.serial += 1;
        let key = format!("{}-{}", self.name, self.serial);
        let call = Call {
            method: "POST",
            path: "/api/v1/transactions",
            idempotency_key: plan.writes.then_some(key.as_str()),
            body: &plan.body,
        };
        let persists = self.rng.chance(0.6);
        let mut doubt = false;
        if plan.writes && self.rng.chance(0.03) {
            doubt = self.door.leave(call).await.is_ok();
        }
        // The answer comes, and is lost on its way.
        let mut lose = plan.writes && self.rng.chance(0.08);
        let until = Instant::now() + PERSISTENCE;
        loop {
            let why = match self.door.ask(call).await {
                Reply::Answered(200, _) if std::mem::take(&mut lose) => {
                    doubt = true;
                    sleep(PAUSE).await;
                    continue;
                }
                Reply::Answered(200, receipt) => return Committed::Receipt(receipt),
                Reply::Answered(status, problem) => {
                    let code = code_of(status, &problem);
                    let certain = (400..500).contains(&status) && (!doubt || FINAL.contains(&code.as_str()));
                    if certain && !UNDONE.contains(&code.as_str()) {
                        return Committed::Refused(code);
                    }
                    doubt |= status >= 500 && !UNDONE.contains(&code.as_str());
                    code
                }
                Reply::InDoubt => {
                    doubt = true;
                    "no answer".to_owned()
                }
                Reply::NotSent => "no server".to_owned(),
            };
            if doubt && !persists {
                return Committed::Unknown(why);
            }
            if Instant::now() > until {
                return if doubt { Committed::Unknown(why) } else { Committed::NotDone(why) };
            }
            if self.rng.chance(0.5) {
                self.door.turn();
            }
            sleep(PAUSE).await;
        }
    }

    async fn finish(&mut self, steps: &[TxnOp], plan: Plan, receipt: &Value) -> Outcome {
        let Plan { asked, mut before, writes, .. } = plan;
        for (at, key) in asked.iter().enumerate() {
            match self.resolve(*key, &receipt["reads"][at]).await {
                Ok(seen) => drop(before.insert(*key, seen)),
                // It is committed, but what it read cannot be told.
                Err(why) if writes => return Outcome::Info(why),
                Err(why) => return Outcome::Fail(why),
            }
        }
        Outcome::Ok(shape::results(steps, &before))
    }

    /// A plain `GET`, which the cache may answer.
    async fn look(&mut self, key: i64) -> Looked<Seen> {
        let path = format!("/api/v1/configuration/{}", Form::of(self.workload, key).id(key));
        match self.door.ask(Call { method: "GET", path: &path, idempotency_key: None, body: "" }).await {
            Reply::Answered(200, shown) => self.resolve(key, &shown).await,
            Reply::Answered(404, _) => Ok(Seen::default()),
            other => Err(unanswered(&other)),
        }
    }

    /// By a transaction that only reads.
    async fn look_past_cache(&mut self, key: i64) -> Looked<Seen> {
        let body = json!({"reads": [reference(self.workload, key)]}).to_string();
        let call = Call { method: "POST", path: "/api/v1/transactions", idempotency_key: None, body: &body };
        match self.door.ask(call).await {
            Reply::Answered(200, receipt) => self.resolve(key, &receipt["reads"][0]).await,
            other => Err(unanswered(&other)),
        }
    }

    /// From a version as shown to the list it stands for.
    async fn resolve(&mut self, key: i64, shown: &Value) -> Looked<Seen> {
        let malformed = || "malformed answer".to_owned();
        let seen = Seen::of(shown).ok_or_else(malformed)?;
        let form = Form::of(self.workload, key);
        if form != Form::Logged || seen.version == 0 {
            return Ok(seen);
        }
        // The past of a key does not change, so it may be asked for later.
        let path = format!("/api/v1/configuration/{}:history", form.id(key));
        let until = Instant::now() + PERSISTENCE;
        loop {
            match self.door.ask(Call { method: "GET", path: &path, idempotency_key: None, body: "" }).await {
                Reply::Answered(200, history) => return Seen::up_to(seen.version, &history).ok_or_else(malformed),
                other if Instant::now() > until => return Err(unanswered(&other)),
                _ => self.door.turn(),
            }
            sleep(PAUSE).await;
        }
    }
}

fn reference(workload: Workload, key: i64) -> Value {
    json!({"kind": "configuration", "id": Form::of(workload, key).id(key)})
}

fn unanswered(reply: &Reply) -> String {
    match reply {
        Reply::Answered(status, problem) => format!("read: {}", code_of(*status, problem)),
        Reply::NotSent => "read: no server".to_owned(),
        Reply::InDoubt => "read: no answer".to_owned(),
    }
}

fn code_of(status: u16, problem: &Value) -> String {
    problem["code"].as_str().map_or_else(|| format!("status {status}"), str::to_owned)
}
