//! What goes wrong while the load runs: one fault per round, healed before the next.

use super::{
    door::{Call, Door, Reply},
    installation::{Installation, Which},
    load::Servers,
};
use adya::r#gen::Rng;
use model::{Error, Result};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the postmaster and its children.
    KillDatabase,
    /// `kill -9` of the server with the private PostgreSQL.
    KillServer,
    /// The leader sleeps past its lease, is succeeded, and wakes up.
    PauseLeader,
    /// Server and PostgreSQL at once.
    KillBoth,
}

const CYCLE: [Fault; 4] = [Fault::KillDatabase, Fault::KillServer, Fault::PauseLeader, Fault::KillBoth];
/// A successor waits for 1.25 leases of 5 s.
const SUCCESSION_LIMIT: Duration = Duration::from_secs(20);
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
const PRESSERS: usize = 24;
const PRESSING: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(100);

impl Fault {
    pub fn of_round(round: usize) -> Self {
        CYCLE[round % CYCLE.len()]
    }

    fn name(self) -> &'static str {
        match self {
            Self::KillDatabase => "kill -9 PostgreSQL",
            Self::KillServer => "kill -9 server",
            Self::PauseLeader => "pause leader",
            Self::KillBoth => "kill -9 server and PostgreSQL",
        }
    }
}

/// Load, fault, recovery, load.
pub async fn run(
    installation: &mut Installation,
    servers: &Servers,
    fault: Fault,
    length: Duration,
    random: &mut Rng,
) -> Result<()> {
    // At a random moment of the first half.
    sleep(length.mul_f64(0.1 + 0.4 * random.below(1_000) as f64 / 1_000.0)).await;
    let began = Instant::now();
    eprintln!("isolation: {}", fault.name());
    match fault {
        Fault::KillDatabase => {
            if installation.kill_database() == 0 {
                return Err(Error::bug("there was no PostgreSQL to kill"));
            }
        }
        Fault::KillServer => {
            installation.kill_server(Which::First);
            installation.start_first().await?;
        }
        Fault::KillBoth => {
            installation.kill_server(Which::First);
            installation.kill_database();
            installation.start_first().await?;
        }
        Fault::PauseLeader => pause_leader(installation, servers, length).await?,
    }
    written(installation, servers).await?;
    eprintln!("isolation:   written again after {:.1} s", began.elapsed().as_secs_f64());
    sleep(length.mul_f64(0.5)).await;
    Ok(())
}

async fn pause_leader(installation: &Installation, servers: &Servers, length: Duration) -> Result<()> {
    let paused = leader(installation, servers, RECOVERY_LIMIT).await?;
    let successor = if paused == Which::First { Which::Second } else { Which::First };
    let pressing = press(installation.address(paused), servers);
    sleep(PRESSING).await;
    installation.pause(paused);
    let succeeded = wait_until(SUCCESSION_LIMIT, async || leads(installation, servers, successor).await).await;
    // The successor writes what the sleeper does not know.
    sleep(length.mul_f64(0.5)).await;
    installation.resume(paused);
    sleep(length.mul_f64(0.5)).await;
    drop(pressing);
    if succeeded {
        return Ok(());
    }
    let what = "the leader slept past its lease, but the other server did not take over";
    Err(Error::bug(what).with("its log", installation.last_words(successor)))
}

/// Writers of keys that are in no history: a leader that is put to sleep in the middle of its work wakes up with work
/// waiting, which is when it could harm. They end when dropped.
fn press(server: SocketAddr, servers: &Servers) -> JoinSet<()> {
    let mut pressing = JoinSet::new();
    for number in 0..PRESSERS {
        let mut door = Door::new(vec![server], servers.token.clone(), 0);
        pressing.spawn(async move {
            let path = format!("/api/v1/configuration/isolation/press.{number}");
            loop {
                let call = Call { method: "PUT", path: &path, idempotency_key: None, body: "{}" };
                if !matches!(door.ask(call).await, Reply::Answered(200 | 201, _)) {
                    sleep(LOOK).await;
                }
            }
        });
    }
    pressing
}

async fn leader(installation: &Installation, servers: &Servers, limit: Duration) -> Result<Which> {
    let until = Instant::now() + limit;
    loop {
        for which in [Which::First, Which::Second] {
            if leads(installation, servers, which).await {
                return Ok(which);
            }
        }
        if Instant::now() > until {
            let words = installation.last_words(Which::First);
            return Err(Error::bug("no server leads").with("the first one's log", words));
        }
        sleep(LOOK).await;
    }
}

/// Until a write is acknowledged. Its key is in no history.
async fn written(installation: &Installation, servers: &Servers) -> Result<()> {
    let mut door = Door::new(servers.addresses.clone(), servers.token.clone(), 0);
    let call = Call { method: "PUT", path: "/api/v1/configuration/isolation/probe", idempotency_key: None, body: "{}" };
    let until = Instant::now() + RECOVERY_LIMIT;
    loop {
        let reply = door.ask(call).await;
        if matches!(reply, Reply::Answered(200 | 201, _)) {
            return Ok(());
        }
        if Instant::now() > until {
            let words = installation.last_words(Which::First);
            return Err(Error::bug(format!("nothing can be written any more: {reply:?}")).with("its log", words));
        }
        door.turn();
        sleep(LOOK).await;
    }
}

async fn wait_until(limit: Duration, mut look: impl AsyncFnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if look().await {
            return true;
        }
        sleep(LOOK).await;
    }
    false
}

async fn leads(installation: &Installation, servers: &Servers, which: Which) -> bool {
    let mut door = Door::new(vec![installation.address(which)], servers.token.clone(), 0);
    let call = Call { method: "GET", path: "/api/v1/status", idempotency_key: None, body: "" };
    matches!(door.ask(call).await, Reply::Answered(200, status) if status["record"]["role"] == "leader")
}
