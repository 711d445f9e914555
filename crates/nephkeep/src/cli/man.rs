//! `man DIR`: one manual page per verb.

use super::Cli;
use crate::{
    exit::{Failure, Outcome},
    layout, output,
};
use clap::{Args, CommandFactory};
use std::{fs, path::PathBuf};

/// Write manual pages into a directory
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep man ~/.local/share/man/man1\n  man nephkeep-intent-import")]
pub struct Arguments {
    /// Where the pages are written; made when missing
    directory: PathBuf,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let directory = &arguments.directory;
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    written.map_err(|error| {
        let what = "the manual pages cannot be written there";
        Failure::environment(layout::io_error("directory-unusable", what, directory, error))
    })?;
    output::note(&format!("manual pages written to {}", directory.display()));
    Ok(())
}
