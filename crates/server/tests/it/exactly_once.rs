//! Exactly once, for a sink that stores its position with its data: its processes are killed at any moment, also two of
//! them at work at a time, and every event is stored once and in order.

use crate::stand::Stand;
use serde_json::{Value, json};
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use testkit::{postgresql, sink::Table};

/// What the process is told.
const TOLD: &str = "NEPHKEEP_TEST_SINK";
const TOPIC: &str = "/api/v1/events/topics/intent.lifecycle";

/// The sink's own process: this test binary, told what to read. Run as a test it has nothing to do.
#[tokio::test]
async fn the_sink_process() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let mut table = Table::open(&text("database").parse().unwrap()).await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let from = table.next().await.unwrap();
        let page = client.get(format!("{}{TOPIC}?after={from}&limit=7&wait=1", text("base")));
        let page = page.bearer_auth(text("token")).send().await.unwrap().error_for_status().unwrap();
        let next = page.headers()["ledger-position"].to_str().unwrap().to_owned();
        let events: Value = page.json().await.unwrap();
        let ids: Vec<String> =
            events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        if !ids.is_empty() {
            table.take(&ids, &from, &next).await.unwrap();
        }
    }
}

/// Killed when it is let go.
struct Process(Child);

impl Process {
    fn start(stand: &Stand, database: &str) -> Self {
        let told = json!({ "base": stand.base, "token": stand.admin, "database": database });
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "exactly_once::the_sink_process"])
            .env(TOLD, told.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL, in the middle of whatever it does.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Until so many are stored.
async fn stored(table: &Table, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let taken = table.taken().await.unwrap();
        if taken.len() >= count {
            return taken;
        }
        assert!(Instant::now() < until, "{} of {count}", taken.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_with_its_position_in_its_data_takes_each_event_once_under_kill_9() {
    let stand = Stand::new().await;
    let database = postgresql::url_of(&postgresql::database().await);
    let table = Table::make(&database.parse().unwrap()).await.unwrap();
    let mut count = 0;
    for round in 0..6 {
        let process = Process::start(&stand, &database);
        // In every second round a predecessor that nobody killed is still at work.
        let beside = (round % 2 == 1).then(|| Process::start(&stand, &database));
        let before = table.taken().await.unwrap().len();
        for at in 0..25 {
            stand.intent(&format!("round {round} {at}")).await;
        }
        count += 25;
        // It is killed while it works: something of this round is stored, seldom all.
        stored(&table, before + 1 + round).await;
        drop((process, beside));
    }
    let _last = Process::start(&stand, &database);
    let taken = stored(&table, count).await;
    let log = stand.get(&format!("{TOPIC}?limit=1000")).send().await.expect(200).json();
    let log: Vec<&str> = log.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(taken, log, "each once, in order");
    stand.stop().await;
}
