//! The keystore of a directory: looked at before anything starts, opened once the record has said what it demands.
//!
//! The file `keystore.id` names the keystore that the directory was initialised with, the record the one that it is
//! sealed under and the oldest generation that it still accepts (RECORD 8). Both must be met; neither is guessed.

use crate::{
    layout::{self, Layout},
    settings::Settings,
};
use keys::{Expect, Keystore};
use ledger::{connection::Connector, keystore_mark};
use model::{Error, Result};
use std::{fs, io};

/// What the directory itself expects; `None` when its file is not there.
pub fn named(layout: &Layout) -> Result<Option<[u8; 16]>> {
    let path = layout.keystore_id();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = "the file that names this directory's keystore cannot be read";
            return Err(layout::io_error("directory-unusable", what, &path, error));
        }
    };
    let mut id = [0; 16];
    match hex::decode_to_slice(text.trim(), &mut id) {
        Ok(()) => Ok(Some(id)),
        Err(_) => {
            let what =
                "the file that names this directory's keystore is damaged; without it, the record's own word counts";
            Err(Error::corrupt("keystore-id-damaged", what).with("path", path.display()))
        }
    }
}

/// Refuses a missing or foreign one before anything is started; changes nothing. Returns its id and generation.
pub fn look(layout: &Layout, settings: &Settings) -> Result<([u8; 16], u64)> {
    Keystore::look(&settings.keystore(), Expect { keystore: named(layout)?, min_generation: 0 })
}

/// Opened as the record demands.
pub async fn open(layout: &Layout, settings: &Settings, connector: &Connector) -> Result<Keystore> {
    let named = named(layout)?;
    let demand = keystore_mark::demand(connector).await?;
    if let (Some(named), Some(demand)) = (named, demand)
        && named != demand.keystore
    {
        let what =
            "the record was written with another keystore than this directory's: it belongs to another directory";
        let error = Error::corrupt("record-other", what).with("record", hex::encode(demand.keystore));
        return Err(error.with("directory", hex::encode(named)));
    }
    let keystore = named.or(demand.map(|demand| demand.keystore));
    let min_generation = demand.map_or(0, |demand| demand.generation);
    Keystore::open_expecting(&settings.keystore(), Expect { keystore, min_generation })
}

/// Writes the directory's own word again when it was lost; the record has confirmed it.
pub fn remember(layout: &Layout, keystore: &Keystore) -> Result<()> {
    let path = layout.keystore_id();
    if path.exists() {
        return Ok(());
    }
    let what = "the file that names this directory's keystore cannot be written";
    layout::write_private(&path, hex::encode(keystore.id()).as_bytes())
        .map_err(|error| layout::io_error("directory-unusable", what, &path, error))
}
