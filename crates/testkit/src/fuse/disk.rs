//! The file system in a process of its own.
//!
//! A process that serves a file system and also has files open in it can neither end nor be killed cleanly (closing
//! them needs the server that is ending). So whoever works on such a disk lets another process serve it: any binary
//! that calls [`serve`]. It takes one command a line on standard input (`cut`, `cut SEED`, `restore`), answers each
//! with a line, and unmounts when the input ends, also by the death of the other side.

use super::{Lost, Mounted, Names, Unsynced};
use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const READY: &str = "ready";

/// Serves until standard input ends.
pub fn serve(directory: &Path, names: Names) -> io::Result<()> {
    let mounted = Mounted::on(directory, names)?;
    let mut answers = io::stdout();
    writeln!(answers, "{READY}")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let lost = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["restore"] => {
                mounted.restore();
                Lost::default()
            }
            ["cut"] => mounted.cut(Unsynced::Forgotten),
            ["cut", seed] => {
                let seed = seed.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
                mounted.cut(Unsynced::Coin { seed })
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        writeln!(answers, "{} {} {}", lost.pages, lost.tail_bytes, lost.names)?;
    }
    mounted.unmount()
}

/// A disk served by another process. Dropped, that process ends and unmounts.
#[derive(Debug)]
pub struct Disk {
    server: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    at: PathBuf,
}

impl Disk {
    /// Starts `server` (which has to call [`serve`] on `at`) and waits until the disk is there.
    pub fn start(mut server: Command, at: &Path) -> io::Result<Self> {
        let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (commands, answers) = (server.stdin.take(), server.stdout.take());
        let answers = BufReader::new(answers.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?);
        let mut disk = Self { server, commands, answers, at: at.to_path_buf() };
        if disk.answer()?.trim() == READY { Ok(disk) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// From now on everything answers EIO, and what was not synced is gone.
    pub fn cut(&mut self, unsynced: Unsynced) -> io::Result<Lost> {
        let answer = match unsynced {
            Unsynced::Forgotten => self.ask("cut")?,
            Unsynced::Coin { seed } => self.ask(&format!("cut {seed}"))?,
        };
        let numbers: Vec<u64> = answer.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [pages, tail_bytes, names] => Ok(Lost { pages, tail_bytes, names }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The power is back.
    pub fn restore(&mut self) -> io::Result<()> {
        self.ask("restore").map(drop)
    }

    fn ask(&mut self, command: &str) -> io::Result<String> {
        let commands = self.commands.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        writeln!(commands, "{command}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.commands.take());
        // It unmounts when its input ends; nothing can be done about a failure here.
        let _status = self.server.wait();
    }
}
