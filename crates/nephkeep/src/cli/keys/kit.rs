//! `keys kit …`: the page of a kit, and the proof that a kit works. Neither changes anything.

use super::report;
use crate::{
    cli::Global,
    exit::{Exit, Failure, Outcome},
    layout, output,
    settings::Settings,
};
use clap::{Args, Subcommand};
use keys::{Kit, kit};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The recovery kit: the root's private key, the only way back on a bare machine
#[derive(Debug, Subcommand)]
pub enum Verb {
    Export(Export),
    Test(Test),
}

/// Print the page of a kit, to lock away
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys kit export --kit recovery-kit.txt | lpr\n  \
    nephkeep keys kit export --kit recovery-kit.txt --page page.txt\n\n\
    Without a kit there is nothing to print, the machine does not have the root key: `nephkeep keys rotate-root`.")]
pub struct Export {
    /// The kit file [default: DIR/recovery-kit.txt]
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// Write the page into a file (0600) instead
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

/// Rebuild the keystore from a kit in an empty place, use it, and remove it again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys kit test --kit /media/usb/recovery-kit.txt\n  \
    nephkeep keys kit test --kit kit.txt --from copies/generations --slot copies/epoch.slot\n\n\
    Exit 1 when a destroyed key could still be read with something at hand.")]
pub struct Test {
    /// The kit, or a typed-in page [default: DIR/recovery-kit.txt]
    #[arg(long, value_name = "FILE")]
    kit: Option<PathBuf>,
    /// Directories with generations [default: as in the settings]
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Slots [default: as in the settings]
    #[arg(long, value_name = "FILE")]
    slot: Vec<PathBuf>,
}

/// The kit named, else the one that still lies in the directory.
fn read(global: &Global, named: Option<&PathBuf>) -> Outcome<Kit> {
    let own = global.layout()?.recovery_kit();
    Ok(Kit::read(named.unwrap_or(&own))?)
}

pub fn export(global: &Global, verb: &Export) -> Outcome {
    let kit = read(global, verb.kit.as_ref())?;
    match &verb.page {
        None => output::data(&kit.page()),
        Some(path) => {
            write_page(&kit, path)?;
            output::note(&format!("page written to {}; print it, then delete it", path.display()));
        }
    }
    Ok(())
}

pub fn write_page(kit: &Kit, path: &Path) -> model::Result<()> {
    let what = "the page cannot be written";
    layout::write_private(path, kit.page().as_bytes())
        .map_err(|error| layout::io_error("directory-unusable", what, path, error))
}

pub fn test(global: &Global, verb: &Test) -> Outcome {
    let kit = read(global, verb.kit.as_ref())?;
    let (mut directories, mut slots) = (verb.from.clone(), verb.slot.clone());
    if directories.is_empty() || slots.is_empty() {
        let settings = Settings::load(&global.layout()?, None)?;
        directories = if directories.is_empty() { settings.key_directories } else { directories };
        slots = if slots.is_empty() { settings.slots } else { slots };
    }
    let target = std::env::temp_dir().join(format!("nephkeep-kit-test-{}", uuid::Uuid::new_v4()));
    let tested = kit::test(&kit, &kit::Sources { directories, slots }, &target);
    remove(&target);
    let found = tested?;
    let mut told = report(&found)?;
    let verdict = if found.is_good() { "the kit works" } else { "an erasure is incomplete" };
    told.rows.push(vec!["verdict".to_owned(), verdict.to_owned()]);
    told.value["verdict"] = verdict.into();
    told.print(global.output)?;
    if found.is_good() { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

/// The rebuilt keystore opens everything: it does not stay.
fn remove(target: &Path) {
    if let Err(error) = fs::remove_dir_all(target)
        && target.exists()
    {
        let what = format!("the rebuilt keystore could not be removed, do it by hand: {}: {error}", target.display());
        output::note(&what);
    }
}
