//! Where the servers of a bench live: a directory that `nephkeep drill guard` cleans up. That is a process of its own,
//! so servers and files are gone afterwards even when the bench itself is killed.

use crate::{
    isolation::binary,
    stand::{failed, layout},
};
use model::{Error, Result};
use operations::drill::site::Site;
use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The guard cleans up no directory that is named otherwise.
const PREFIX: &str = "nephkeep-drill-";

/// Of one installation. Dropped, what runs in it is ended and its files are removed.
#[derive(Debug)]
pub struct Home {
    program: PathBuf,
    root: PathBuf,
    guard: Child,
}

fn unmade(error: io::Error) -> Error {
    failed("no directory for the servers").caused_by(error)
}

impl Home {
    pub fn make(place: &Path, name: &str) -> Result<Self> {
        let program = binary::build(false)?;
        let home = place.join(format!("{PREFIX}{name}"));
        // PostgreSQL runs under another account and has to pass through.
        let made = fs::create_dir(&home).and_then(|()| fs::set_permissions(&home, fs::Permissions::from_mode(0o755)));
        made.map_err(unmade)?;
        let mut command = Command::new(&program);
        command.args(["drill", "guard"]).arg(&home).env("NEPHKEEP_LOG", "warn");
        // A group of its own: a Ctrl-C is meant for the bench.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let guard = command.spawn();
        let guard = guard.map_err(|error| failed("what cleans up after the bench does not start").caused_by(error))?;
        Ok(Self { program, root: home.join("nephkeep"), guard })
    }

    /// The installation, not yet started; with these variables besides.
    #[must_use]
    pub fn site(&self, variables: &[(&str, &str)]) -> Site {
        let layout = layout(self.program.clone(), self.root.clone());
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Site::new(layout, vec!["up".into(), self.root.clone().into()], variables)
    }

    /// The root of an installation without a nephkeep, for servers in process: the guard finds their PostgreSQL where
    /// an installation has its own, in `record`.
    pub fn without_server(&self) -> Result<PathBuf> {
        fs::create_dir(&self.root).and_then(|()| fs::write(self.root.join("nephkeep.toml"), "")).map_err(unmade)?;
        Ok(self.root.clone())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The guard hears by its input that the bench is done. It keeps to limits of its own, and says what it could
        // not clean up.
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
    }
}
