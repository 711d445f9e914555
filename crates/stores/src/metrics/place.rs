//! What a metrics URL names.

use model::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `prometheus+local:///DIR`: children of ours.
    Local(PathBuf),
    /// `prometheus+http://HOST/PREFIX?write=URL`: a server that speaks Prometheus's API; samples go to `write`, else
    /// to its `/api/v1/write`.
    Remote { base: String, write: Option<String> },
    /// `none`: no metrics are kept.
    None,
}

impl Place {
    /// A relative directory is relative to `beside`.
    pub fn parse(url: &str, beside: &Path) -> Result<Self> {
        if url == "none" {
            return Ok(Self::None);
        }
        if let Some(rest) = url.strip_prefix("prometheus+local:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.is_empty() { Err(unsupported()) } else { Ok(Self::Local(beside.join(path))) };
        }
        let scheme = ["http", "https"].into_iter().find(|scheme| url.starts_with(&format!("prometheus+{scheme}://")));
        let rest = scheme.and_then(|_| url.strip_prefix("prometheus+")).ok_or_else(unsupported)?;
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let host = base.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(""));
        if host.contains('@') {
            let what = "a metrics URL holds no password; put a token into a file and name it in metrics.token_file";
            return Err(Error::invalid("secret-in-settings", what));
        }
        let write = match query.split_once('=') {
            None if query.is_empty() => None,
            Some(("write", target)) if target.starts_with("http://") || target.starts_with("https://") => {
                Some(target.to_owned())
            }
            _ => return Err(unsupported()),
        };
        if host.is_empty() { Err(unsupported()) } else { Ok(Self::Remote { base: base.to_owned(), write }) }
    }
}

fn unsupported() -> Error {
    let what =
        "a metrics store reads like prometheus+local:///some/directory, prometheus+http://host:9090?write=URL, or none";
    Error::invalid("settings-store-unsupported", what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_kinds_of_place_are_read_and_others_refused() {
        let read = |url: &str| Place::parse(url, Path::new("/base"));
        assert_eq!(read("prometheus+local:metrics").unwrap(), Place::Local("/base/metrics".into()));
        assert_eq!(read("prometheus+local:///var/m").unwrap(), Place::Local("/var/m".into()));
        assert_eq!(read("none").unwrap(), Place::None);
        let remote =
            |base: &str, write: Option<&str>| Place::Remote { base: base.into(), write: write.map(Into::into) };
        assert_eq!(read("prometheus+http://h:1/p").unwrap(), remote("http://h:1/p", None));
        assert_eq!(
            read("prometheus+https://h?write=http://r/api/v1/receive").unwrap(),
            remote("https://h", Some("http://r/api/v1/receive"))
        );
        for bad in [
            "",
            "prometheus+local:",
            "prometheus+http://",
            "http://h",
            "prometheus+http://h?x=1",
            "prometheus+http://h?write=r",
        ] {
            assert_eq!(read(bad).unwrap_err().code(), "settings-store-unsupported", "{bad}");
        }
        assert_eq!(read("prometheus+http://u:p@h").unwrap_err().code(), "secret-in-settings");
    }
}
