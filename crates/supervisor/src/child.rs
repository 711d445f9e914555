//! One run of a child: started under its account with nothing inherited, awaited, asked to stop ever harder.

use crate::{
    account::{Account, file_error},
    processes::signal,
};
use model::{Error, Result};
use rustix::process::Signal;
use std::{
    fs::File,
    future::Future,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

/// How a child is asked to stop: each signal, and how long it has.
pub type Stop = &'static [(Signal, Duration)];

/// Why a child does not answer.
#[derive(Debug)]
pub enum Unready {
    Ended(ExitStatus),
    Late,
}

#[derive(Debug)]
pub struct Child {
    child: tokio::process::Child,
    pub pid: i32,
    stop: Stop,
}

impl Child {
    /// Starts a program whose output goes to `log`. Its environment is empty but for what `prepare` adds.
    pub fn spawn(
        program: &Path,
        account: &Account,
        log: &File,
        stop: Stop,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let output = || log.try_clone().map_err(|e| file_error("open the log of", program, e));
        let mut command = Command::new(program);
        // Its own group: an interrupt from the terminal is for us, we stop it in our own order.
        command.env_clear().stdin(Stdio::null()).stdout(output()?).stderr(output()?).process_group(0);
        if account.dropped {
            command.uid(account.uid).gid(account.gid);
        }
        prepare(&mut command);
        let child = command.spawn().map_err(|e| file_error("run", program, e))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| Error::bug("a child process that was just started has no pid"))?;
        Ok(Self { child, pid, stop })
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it answers. One that is too late is stopped.
    pub async fn ready<A>(&mut self, every: Duration, limit: Duration, answers: impl Fn() -> A) -> Result<(), Unready>
    where
        A: Future<Output = bool>,
    {
        let begun = Instant::now();
        while !answers().await {
            if let Some(status) = self.ended() {
                return Err(Unready::Ended(status));
            }
            if begun.elapsed() > limit {
                self.stop().await;
                return Err(Unready::Late);
            }
            sleep(every).await;
        }
        Ok(())
    }

    /// Waits for its end, whoever causes it.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Politely first; each next signal when the one before takes too long.
    pub async fn stop(&mut self) {
        for (how, limit) in self.stop {
            signal(self.pid, *how);
            if timeout(*limit, self.child.wait()).await.is_ok() {
                return;
            }
            tracing::warn!(pid = self.pid, signal = ?how, "a child does not stop; asking harder");
        }
    }
}
