//! The `nephkeep` to be tested, built from this workspace.

use model::{Error, Result};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// Built like the checker itself; with seeded bugs always for development, because no release binary may have them.
pub fn build(seeded: bool) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "nephkeep", "--bin", "nephkeep"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if seeded {
        command.args(["--features", "seeded-bugs"]);
    } else if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Error::bug("cargo does not start").caused_by(error))?;
    if !output.status.success() {
        return Err(Error::bug("nephkeep does not build"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?))).next_back();
    made.ok_or_else(|| Error::bug("cargo named no executable"))
}
