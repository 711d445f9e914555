//! The first start of a directory: settings, keystore, recovery kit. Each step may be interrupted and taken again;
//! the settings file comes last and says that all of it was done.

use crate::{
    exit::{Failure, Outcome},
    layout::{self, Layout},
    output,
    settings::{self, Settings},
};
use keys::Keystore;
use model::{Error, Result};
use std::{fs, path::Path};

/// What an interrupted first start may have left, and what a file system puts into its root.
const EXPECTED: [&str; 9] =
    ["run", "log", "keystore", "slots", "host", "keystore.id", "recovery-kit.txt", "admin-credential", "lost+found"];

/// A directory with other things in it is not taken: the path may be mistyped.
pub fn refuse_foreign(layout: &Layout) -> Outcome {
    if layout.is_initialised() {
        return Ok(());
    }
    let Ok(entries) = fs::read_dir(layout.root()) else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let foreign: Vec<String> =
        names.filter(|name| !name.starts_with('.') && !EXPECTED.contains(&name.as_str())).take(5).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let what = "this directory holds other things and no nephkeep.toml: name an empty one, or one that does not exist";
    let error = Error::refused("directory-foreign", what).with("directory", layout.root().display());
    Err(Failure::environment(error.with("holds", foreign.join(", "))))
}

/// With settings of one's own the keystore they name is made, unless it exists.
pub fn if_empty(layout: &Layout, own: Option<&Path>) -> Outcome {
    let settings = match own {
        Some(_) => Settings::load(layout, own)?,
        None if layout.is_initialised() => return Ok(()),
        None => Settings::parse_default(layout.root())?,
    };
    keystore(layout, &settings).map_err(Failure::environment)?;
    if own.is_none() {
        write(&layout.settings(), settings::DEFAULT.as_bytes()).map_err(Failure::environment)?;
    }
    Ok(())
}

/// A keystore without its kit is one whose making was interrupted before anything was sealed under it: it gets a new
/// root, since the first one's private key is lost.
fn keystore(layout: &Layout, settings: &Settings) -> Result<()> {
    let (places, kit) = (settings.keystore(), layout.recovery_kit());
    let keystore = if !places.host_key.exists() {
        let (keystore, root) = Keystore::create(&places)?;
        root.write(&kit)?;
        keystore
    } else if !kit.exists() && is_fresh(settings) {
        let keystore = Keystore::open(&places)?;
        let (_, destroyed) = keystore.rotate_root(|root| root.write(&kit))?;
        if !destroyed.is_complete() {
            output::note("a keystore slot lags; `nephkeep keys status` shows which");
        }
        keystore
    } else {
        return Ok(());
    };
    write(&layout.keystore_id(), hex::encode(keystore.id()).as_bytes())
}

/// Nothing was ever recorded: neither an audit log nor a local record exists.
fn is_fresh(settings: &Settings) -> bool {
    let record = match &settings.record {
        settings::Record::Local(path) => path.exists(),
        settings::Record::Postgres { .. } => true,
    };
    !record && !settings.audit_directory.exists()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let what = "a file of the new directory cannot be written";
    layout::write_private(path, bytes)
        .map_err(|error: std::io::Error| -> Error { layout::io_error("directory-unusable", what, path, error) })
}

/// What the owner of a fresh directory must know, once: at the first start that succeeded.
pub fn tell(layout: &Layout) {
    if !layout.recovery_kit().exists() {
        return;
    }
    output::note(&format!("initialised {}", layout.root().display()));
    output::note(&format!(
        "RECOVERY KIT: {} is the only way back when this machine is lost.",
        layout.recovery_kit().display()
    ));
    output::note("  Move it to another machine or print it now, then delete it here.");
    output::note("WARNING: the keystore's directories and slots lie on one disk. For production name others, which do");
    output::note(&format!("  not fail together, in {} (keys.directories, keys.slots).", layout.settings().display()));
}
