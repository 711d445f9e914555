//! The host key: an X25519 private key in one file (0600), so that a normal start needs no root key (docs/adr/002).
//!
//! Frame payload: `keystore id 16 | private key 32`.

use crate::{files, frame::Form, secret::Secret, state::KeystoreId, wrap::Pair};
use model::{Error, Result};
use std::path::Path;
use zeroize::Zeroizing;

const FORM: Form = Form { name: "host key", magic: b"NKHOSTKY", format: 1 };

pub fn read(path: &Path) -> Result<(KeystoreId, Pair)> {
    let Some(bytes) = files::read(path)?.map(Zeroizing::new) else {
        let words = "there is no host key: `nephkeep keys recover` makes a new one from the recovery kit";
        return Err(Error::not_found("host-key-missing", words).with("path", path.display()));
    };
    decode(&bytes).map_err(|error| error.with("path", path.display()))
}

fn decode(bytes: &[u8]) -> Result<(KeystoreId, Pair)> {
    let mut reader = FORM.open(bytes)?;
    let (keystore, private) = (reader.array()?, Secret::new(reader.array()?));
    reader.end()?;
    Ok((keystore, Pair::from_private(private)?))
}

/// Replaces what is there: a new host key is written only before the slots are wrapped to it.
pub fn write(path: &Path, keystore: &KeystoreId, pair: &Pair) -> Result<()> {
    let mut out = FORM.begin();
    out.extend(keystore);
    out.extend(pair.private.bytes());
    files::write_durably(path, &Zeroizing::new(FORM.finish(out)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_key_is_read_back_and_its_absence_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.key");
        assert_eq!(read(&path).unwrap_err().code(), "host-key-missing");
        let pair = Pair::generate().unwrap();
        write(&path, &[4; 16], &pair).unwrap();
        assert_eq!(read(&path).unwrap(), ([4; 16], pair));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
