//! Credential files: who a program is towards the server. Mode 0600, refused when others may read them.

use crate::{
    exit::{Failure, Outcome},
    layout,
};
use model::Error;
use serde::{Deserialize, Serialize};
use std::{fmt, fs, path::Path};

#[derive(Clone, Serialize, Deserialize)]
pub struct Credential {
    pub principal: String,
    pub tenant: String,
    pub token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}/{})", self.tenant, self.principal)
    }
}

pub fn read(path: &Path) -> Outcome<Credential> {
    let text = fs::read(path).map_err(|error| {
        let what = "the credential file cannot be read; it lies in the directory of the server, readable by its owner";
        Failure::environment(layout::io_error("credential-unreadable", what, path, error))
    })?;
    if !layout::is_private(path).unwrap_or(false) {
        let what = "others may read this credential file; its token may be known, so rotate it, or close the file with chmod 600";
        return Err(Failure::environment(Error::refused("credential-exposed", what).with("path", path.display())));
    }
    serde_json::from_slice(&text).map_err(|_| {
        let what = "not a credential file; `nephkeep access rotate` writes a new one";
        Failure::environment(Error::invalid("credential-malformed", what).with("path", path.display()))
    })
}

pub fn write(path: &Path, credential: &Credential) -> Outcome {
    let written = serde_json::to_vec_pretty(credential).map_err(std::io::Error::from);
    let written = written.and_then(|text| layout::write_private(path, &text));
    written.map_err(|error| {
        Failure::environment(layout::io_error(
            "credential-unwritable",
            "the credential file cannot be written",
            path,
            error,
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_credential_that_others_may_read_is_refused_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credential");
        let credential = Credential { principal: "p".into(), tenant: "t".into(), token: "hidden".into() };
        write(&path, &credential).unwrap();
        assert_eq!(read(&path).unwrap().token, "hidden");
        assert!(!format!("{:?}", read(&path)).contains("hidden"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let Err(Failure::Error { error, .. }) = read(&path) else { unreachable!() };
        assert_eq!(error.code(), "credential-exposed");
    }
}
