//! The signing key of a log and its first checkpoint.
//!
//! The empty checkpoint is durable before the key: a key without a checkpoint therefore means a log that was taken away.

use crate::{
    log::Options,
    note::{Checkpoint, PrivateKey},
    publish::{unavailable, write_checkpoint},
    recovery::truncated,
    segment::{self, sync_directory},
};
use model::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};
use zeroize::Zeroizing;

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn load_or_create(options: &Options) -> Result<(PrivateKey, Checkpoint)> {
    let directory = options.directory.as_path();
    let cannot = |error| unavailable(directory, error);
    let path = options.keys.join("log.key");
    let stored = read_if_there(&path).map_err(cannot)?.map(Zeroizing::new);
    let text = read_if_there(&directory.join("checkpoint")).map_err(cannot)?;
    match (stored, text) {
        (Some(stored), Some(text)) => {
            check_mode(&path).map_err(cannot)??;
            let key = PrivateKey::parse(&stored)?;
            let checkpoint = Checkpoint::open(&text, key.public())?;
            write_public(&options.keys, &key).map_err(cannot)?;
            Ok((key, checkpoint))
        }
        (Some(_), None) => Err(truncated(directory, "its checkpoint is missing, its key is there")),
        (None, text) if has_entries(directory, text.as_deref()) => {
            let message = "the signing key of the audit log is missing; bring back log.key";
            Err(Error::corrupt("audit-key-missing", message).with("file", path.display()))
        }
        (None, _) => create(options),
    }
}

/// Segments, or a checkpoint that covers some. An empty checkpoint alone is a creation that was cut off.
fn has_entries(directory: &Path, checkpoint: Option<&str>) -> bool {
    let signed = checkpoint.is_some_and(|text| text.lines().nth(1) != Some("0"));
    signed || segment::list(directory).is_ok_and(|segments| !segments.is_empty())
}

fn check_mode(path: &Path) -> io::Result<Result<()>> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(Ok(()));
    }
    let message = "the signing key of the audit log can be read by others; set its mode to 0600";
    let error = Error::refused("audit-key-exposed", message);
    Ok(Err(error.with("file", path.display()).with("mode", format!("{mode:o}"))))
}

fn create(options: &Options) -> Result<(PrivateKey, Checkpoint)> {
    let cannot = |error| unavailable(&options.directory, error);
    let name = match &options.name {
        Some(name) => name.clone(),
        None => random_name()?,
    };
    let key = PrivateKey::generate(&name)?;
    let checkpoint = Checkpoint { origin: name, size: 0, root: crate::merkle::fold(&[]) };
    write_checkpoint(&options.directory, &checkpoint.sign(&key)).map_err(cannot)?;
    write_keys(&options.keys, &key).map_err(cannot)?;
    Ok((key, checkpoint))
}

fn random_name() -> Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::retry("audit-unavailable", format!("no randomness for a name: {error}")))?;
    Ok(format!("nephkeep/audit-{}", hex::encode(random)))
}

fn write_keys(folder: &Path, key: &PrivateKey) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write_public(folder, key)?;
    let temporary = folder.join("log.key.new");
    let _ = fs::remove_file(&temporary);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(key.text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join("log.key"))?;
    sync_directory(folder)
}

fn write_public(folder: &Path, key: &PrivateKey) -> io::Result<()> {
    let path = folder.join("log.pub");
    let text = format!("{}\n", key.public());
    if read_if_there(&path)?.as_deref() == Some(&text) {
        return Ok(());
    }
    fs::write(path, text)
}
