//! Concurrent clients that run random transactions until told to stop, and a last look at every key.

use super::{
    door::Door,
    history::{Recorder, Workload},
    transaction::Client,
};
use adya::{r#gen::TxnOp, run::Outcome};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// A client begins no more than one transaction in this time: histories stay short enough to be searched.
const PACE: Duration = Duration::from_millis(8);
const LAST_LOOK_KEYS: usize = 8;
const LAST_LOOK_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Servers {
    pub addresses: Vec<SocketAddr>,
    pub token: String,
}

#[derive(Debug)]
pub struct Load {
    recorder: Arc<Recorder>,
    servers: Servers,
    seed: u64,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn begin(workload: Workload, servers: &Servers, count: u64, seed: u64) -> Self {
        let recorder = Arc::new(Recorder::new(workload, seed));
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..count {
            let client = client(workload, servers, seed, number);
            clients.spawn(drive(client, Arc::clone(&recorder), Arc::clone(&stop)));
        }
        Self { recorder, servers: servers.clone(), seed, stop, clients }
    }

    /// Ends the clients, then reads every key once more: what was acknowledged and is gone must show.
    pub async fn end(mut self) -> Arc<Recorder> {
        self.stop.store(true, Ordering::SeqCst);
        while self.clients.join_next().await.is_some() {}
        let keys = self.recorder.keys();
        let mut last = client(self.recorder.workload, &self.servers, self.seed, u64::MAX);
        let process = self.recorder.process();
        let until = Instant::now() + LAST_LOOK_LIMIT;
        for keys in keys.chunks(LAST_LOOK_KEYS) {
            let steps: Vec<TxnOp> = keys.iter().map(|key| TxnOp::Read(*key)).collect();
            loop {
                self.recorder.invoke_given(process, &steps);
                let outcome = last.run(&steps).await;
                self.recorder.complete(process, &steps, &outcome);
                if matches!(outcome, Outcome::Ok(_)) || Instant::now() > until {
                    break;
                }
            }
        }
        self.recorder
    }
}

fn client(workload: Workload, servers: &Servers, seed: u64, number: u64) -> Client {
    let at = usize::try_from(number).unwrap_or_default();
    let door = Door::new(servers.addresses.clone(), servers.token.clone(), at);
    let own = seed.wrapping_mul(1_000_003).wrapping_add(number);
    Client::new(door, workload, format!("{}-{seed}-{number}", workload.name()), own)
}

async fn drive(mut client: Client, recorder: Arc<Recorder>, stop: Arc<AtomicBool>) {
    let mut process = recorder.process();
    while !stop.load(Ordering::SeqCst) {
        let next = Instant::now() + PACE;
        let steps = recorder.invoke(process);
        let outcome = client.run(&steps).await;
        recorder.complete(process, &steps, &outcome);
        if matches!(outcome, Outcome::Info(_)) {
            process = recorder.process();
        }
        sleep_until(next).await;
    }
}
