//! The key of an embedder's server. A file is read at every request, so that a new key needs no new start.

use model::{Error, Result};
use reqwest::header::HeaderValue;
use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    None,
    Given(ApiKey),
    /// Read by nobody but its owner.
    File(PathBuf),
}

/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub(super) HeaderValue);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl ApiKey {
    /// Of the text of a file or a variable.
    pub fn read(text: &str) -> Result<Self> {
        let malformed =
            || Error::refused("embedder-key-malformed", "the embedder's key is one line of plain characters");
        let text = text.trim();
        let value = HeaderValue::from_str(&format!("Bearer {text}")).ok().filter(|_| !text.is_empty());
        let mut value = value.ok_or_else(malformed)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Key {
    pub(super) fn get(&self) -> Result<Option<ApiKey>> {
        match self {
            Self::None => Ok(None),
            Self::Given(key) => Ok(Some(key.clone())),
            Self::File(path) => file(path).map(Some),
        }
    }
}

fn file(path: &Path) -> Result<ApiKey> {
    let unreadable = |error| {
        let what = "the file with the embedder's key cannot be read";
        Error::refused("credential-unreadable", what).with("path", path.display()).caused_by(error)
    };
    if fs::metadata(path).map_err(unreadable)?.mode() & 0o077 != 0 {
        let what = "others may read the file with the embedder's key; close it with chmod 600 and change the key";
        return Err(Error::refused("credential-exposed", what).with("path", path.display()));
    }
    ApiKey::read(&fs::read_to_string(path).map_err(unreadable)?).map_err(|error| error.with("path", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_one_line_of_a_closed_file() {
        for bad in [" \n", "", "a\nb", "\u{1}"] {
            assert_eq!(ApiKey::read(bad).unwrap_err().code(), "embedder-key-malformed");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = Key::File(path.clone());
        assert_eq!(key.get().unwrap_err().code(), "credential-unreadable");
        fs::write(&path, "sk-1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(key.get().unwrap_err().code(), "credential-exposed");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(key.get().unwrap(), Some(ApiKey::read("sk-1").unwrap()));
        fs::write(&path, "sk-2").unwrap();
        assert_eq!(key.get().unwrap(), Some(ApiKey::read("sk-2").unwrap()));
    }
}
