//! What a drill runs on: this very program, in directories that are gone afterwards.

use super::guard::HOMES;
use crate::{
    exit::Outcome,
    layout::Layout,
    settings::{Record, Settings},
};
use model::Error;
use operations::drill::{
    pause::Pair,
    site::{self, Site},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The variable that names a seeded bug, and its name.
pub type Bug = Option<(&'static str, String)>;

#[derive(Debug)]
pub enum Made {
    One(Box<Site>),
    Two(Box<Pair>),
}

impl Made {
    /// One server with everything.
    pub fn one(place: &Path, bug: Bug) -> Outcome<Self> {
        let parts = Parts::of(&place.join(HOMES[0]))?;
        let arguments = vec!["up".into(), parts.layout.root().into()];
        Ok(Self::One(Box::new(Site::new(parts.layout()?, arguments, environment(bug)))))
    }

    /// Two servers on the record of a first one.
    pub fn two(place: &Path, bug: Bug) -> Outcome<Self> {
        let first = Parts::of(&place.join(HOMES[0]))?;
        let arguments = vec!["up".into(), first.layout.root().into()];
        let a = second(&first, &place.join(HOMES[1]), bug.clone())?;
        let b = second(&first, &place.join(HOMES[2]), bug)?;
        let first = Site::new(first.layout()?, arguments, Vec::new());
        Ok(Self::Two(Box::new(Pair { first, servers: [a, b] })))
    }

    pub fn sites(&self) -> Vec<&Site> {
        match self {
            Self::One(site) => vec![site],
            Self::Two(pair) => std::iter::once(&pair.first).chain(&pair.servers).collect(),
        }
    }
}

/// An installation as the settings lay it out.
struct Parts {
    layout: Layout,
    settings: Settings,
    record: PathBuf,
}

impl Parts {
    fn of(root: &Path) -> Outcome<Self> {
        let layout = Layout::find(Some(root))?;
        let settings = Settings::parse_default(layout.root())?;
        let Record::Local(record) = settings.record.clone() else {
            let what = "a drill breaks only a record of its own; unset NEPHKEEP_RECORD";
            return Err(Error::refused("drill-not-local", what).into());
        };
        Ok(Self { layout, settings, record })
    }

    fn layout(&self) -> Outcome<site::Layout> {
        let program = std::env::current_exe()
            .map_err(|error| Error::retry("drill-failed", "this program does not find itself").caused_by(error))?;
        Ok(site::Layout {
            program,
            root: self.layout.root().to_path_buf(),
            running: self.layout.running(),
            credential: self.layout.credential(),
            record: self.record.clone(),
            audit: self.settings.audit(),
        })
    }
}

fn environment(bug: Bug) -> Vec<(OsString, OsString)> {
    bug.into_iter().map(|(variable, name)| (variable.into(), name.into())).collect()
}

/// A server of its own directory and audit log, on the record and the keystore of the first.
fn second(first: &Parts, root: &Path, bug: Bug) -> Outcome<Site> {
    let own = Parts::of(root)?;
    let layout = site::Layout { record: first.record.clone(), ..own.layout()? };
    let settings = first.layout.settings();
    let arguments: Vec<OsString> =
        vec!["--dir".into(), root.into(), "serve".into(), "--settings".into(), settings.into()];
    let socket = first.record.join("socket").display().to_string().replace('/', "%2F");
    let url = format!("postgres://{}@{socket}/postgres?sslmode=disable", ledger::server::USER);
    let mut variables = environment(bug);
    variables.push(("NEPHKEEP_RECORD".into(), url.into()));
    variables.push(("NEPHKEEP_RECORD_PASSWORD_FILE".into(), first.record.join("password").into()));
    variables.push(("NEPHKEEP_AUDIT_DIRECTORY".into(), layout.audit.directory.clone().into()));
    variables.push(("NEPHKEEP_AUDIT_KEYS".into(), layout.audit.keys.clone().into()));
    Ok(Site::new(layout, arguments, variables))
}
