//! The account a child runs under. Root drops to an unprivileged account that owns the child's data; a normal user
//! stays what it is. (PostgreSQL refuses root; the others have no need of it.)

use model::{Error, Result};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// We are root and become this account; otherwise it is the caller's own.
    pub dropped: bool,
}

impl Account {
    /// The account for a child: ours, or, when we are root, the first of the candidates that exists.
    pub fn choose(candidates: &[&str]) -> Result<Self> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            let gid = rustix::process::getegid().as_raw();
            return Ok(Self { name: format!("uid {}", uid.as_raw()), uid: uid.as_raw(), gid, dropped: false });
        }
        let passwd = fs::read_to_string("/etc/passwd")
            .map_err(|e| Error::refused("account-missing", "/etc/passwd cannot be read").caused_by(e))?;
        Self::among(&passwd, candidates)
    }

    /// Existing data stays with the account that owns it.
    #[must_use]
    pub fn or_owner_of(self, data: &Path) -> Self {
        match fs::metadata(data) {
            Ok(meta) if self.dropped && meta.uid() != 0 && meta.uid() != self.uid => {
                Self { name: format!("uid {}", meta.uid()), uid: meta.uid(), gid: meta.gid(), dropped: true }
            }
            _ => self,
        }
    }

    fn among(passwd: &str, names: &[&str]) -> Result<Self> {
        let found = names.iter().find_map(|name| entry(passwd, name));
        found.filter(|account| account.uid != 0).ok_or_else(|| {
            let message = "a child does not run as root, and there is no unprivileged account to run it under; create one or name one";
            Error::refused("account-missing", message).with("looked for", names.join(", "))
        })
    }

    /// Gives a file or directory to the account, closed to everybody else.
    pub fn own(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| file_error("set the mode of", path, e))?;
        if self.dropped {
            chown(path, Some(self.uid), Some(self.gid)).map_err(|e| file_error("give away", path, e))?;
        }
        Ok(())
    }

    /// Makes a directory of ours: closed, but the account may pass through it.
    pub fn open_house(&self, directory: &Path) -> Result<()> {
        if !directory.exists() {
            fs::create_dir_all(directory).map_err(|e| file_error("create", directory, e))?;
            let closed = fs::Permissions::from_mode(0o700);
            fs::set_permissions(directory, closed).map_err(|e| file_error("set the mode of", directory, e))?;
        }
        let meta = fs::metadata(directory).map_err(|e| file_error("look at", directory, e))?;
        if self.dropped && !self.may_pass(&meta) {
            chown(directory, None, Some(self.gid)).map_err(|e| file_error("give the group of", directory, e))?;
            let mode = (meta.mode() & 0o700) | 0o710;
            fs::set_permissions(directory, fs::Permissions::from_mode(mode))
                .map_err(|e| file_error("set the mode of", directory, e))?;
        }
        self.check_path(directory)
    }

    /// Every directory above that exists must let the account through: it opens its files by absolute path.
    pub fn check_path(&self, directory: &Path) -> Result<()> {
        if !self.dropped {
            return Ok(());
        }
        for step in directory.ancestors().filter(|step| !step.as_os_str().is_empty() && step.exists()) {
            let meta = fs::metadata(step).map_err(|e| file_error("look at", step, e))?;
            if !self.may_pass(&meta) {
                let message = "the account that runs the child may not pass through this directory; allow it (chmod o+x) or choose another place";
                return Err(Error::refused("directory-not-traversable", message)
                    .with("directory", step.display())
                    .with("account", &self.name));
            }
        }
        Ok(())
    }

    fn may_pass(&self, meta: &fs::Metadata) -> bool {
        let bit = match () {
            () if meta.uid() == self.uid => 0o100,
            () if meta.gid() == self.gid => 0o010,
            () => 0o001,
        };
        meta.mode() & bit != 0
    }
}

fn entry(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { name: name.to_owned(), uid, gid, dropped: true })
}

/// A file operation of the supervisor that failed; says which, where and (through the cause) why.
pub fn file_error(what: &str, path: &Path, error: std::io::Error) -> Error {
    let code = match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::NOSPC.raw_os_error() => "disk-full",
        Some(code) if code == rustix::io::Errno::ACCESS.raw_os_error() => "directory-denied",
        _ => "directory-unusable",
    };
    let kind = if code == "disk-full" { model::ErrorKind::Retry } else { model::ErrorKind::Refused };
    Error::new(kind, code, format!("could not {what} a file of a supervised child"))
        .with("path", path.display())
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\ntoor:x:0:0::/:/bin/sh\n";

    #[test]
    fn root_becomes_the_named_account_or_the_first_known_one() {
        let known = ["postgres", "_postgres", "nobody"];
        let nobody = Account::among(PASSWD, &known).ok();
        assert_eq!(nobody.map(|a| (a.name, a.uid, a.gid)), Some(("nobody".to_owned(), 65534, 65534)));
        let with_postgres = format!("{PASSWD}postgres:x:101:104::/:/bin/sh\n");
        assert_eq!(Account::among(&with_postgres, &known).map(|a| a.uid).ok(), Some(101));
        assert_eq!(Account::among(&with_postgres, &["nobody"]).map(|a| a.uid).ok(), Some(65534));
    }

    #[test]
    fn an_unknown_account_and_a_second_root_are_refused() {
        for wanted in ["daemon", "toor", "", "root"] {
            let refused = Account::among(PASSWD, &[wanted]).err();
            assert_eq!(refused.map(|e| e.code()), Some("account-missing"), "{wanted}");
        }
    }
}
