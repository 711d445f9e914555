//! `completions SHELL`: a completion script on stdout.

use super::Cli;
use crate::{exit::Outcome, output};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep completions bash > /etc/bash_completion.d/nephkeep\n  \
    nephkeep completions zsh > ~/.zfunc/_nephkeep\n  nephkeep completions fish > ~/.config/fish/completions/nephkeep.fish")]
pub struct Arguments {
    /// The shell to complete for
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "nephkeep", &mut script);
    output::data(&String::from_utf8_lossy(&script));
    Ok(())
}
