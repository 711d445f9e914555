//! Finding Prometheus: the settings' path, the search path, the usual places.

use super::super::engine::Version;
use model::{Error, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Older ones lack native histograms in remote write.
const OLDEST: (u32, u32) = (2, 40);
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/prometheus"];

#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub version: Version,
}

impl Program {
    /// The one that the settings name, and no other; else the first that is found.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        let candidates = match named {
            Some(path) => vec![path.to_owned()],
            None => candidates(),
        };
        let found = candidates.iter().find_map(|path| Some(Self { path: path.clone(), version: version(path)? }));
        let program = found.ok_or_else(|| missing(named))?;
        if !program.version.at_least(OLDEST.0, OLDEST.1) {
            let what = format!("Prometheus {}.{} or newer is needed; this one is older", OLDEST.0, OLDEST.1);
            return Err(Error::refused("prometheus-too-old", what)
                .with("version", &program.version.text)
                .with("program", program.path.display()));
        }
        Ok(program)
    }
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let searched = std::env::split_paths(&path).filter(|place| place.is_absolute());
    let places = searched.chain(PLACES.iter().map(PathBuf::from));
    places.map(|place| place.join("prometheus")).filter(|path| path.is_file()).collect()
}

fn missing(named: Option<&Path>) -> Error {
    let what = "there is no Prometheus program, so metrics are not kept; install one (scripts/setup.sh, or the \
                distribution's package), or name one in the settings as metrics.prometheus";
    let place =
        named.map_or_else(|| "the search path and the usual places".to_owned(), |path| path.display().to_string());
    Error::refused("prometheus-missing", what).with("looked for", place)
}

fn version(path: &Path) -> Option<Version> {
    let output = Command::new(path).arg("--version").env_clear().output().ok()?;
    // Older ones print it to standard error.
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    parse(&text)
}

/// `prometheus, version 2.42.0+ds (branch: …`.
fn parse(text: &str) -> Option<Version> {
    let rest = text.lines().find_map(|line| line.strip_prefix("prometheus, version "))?;
    rest.split_whitespace().next().map(Version::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_and_words_are_none() {
        let line = "prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5+deb12u1)\n  build user:";
        assert!(parse(line).is_some_and(|version| version.text == "2.42.0+ds" && !version.at_least(2, 43)));
        for words in ["", "prometheus", "alertmanager, version 0.25.0"] {
            assert!(parse(words).is_none(), "{words}");
        }
    }

    #[test]
    fn a_named_program_that_is_none_is_refused_by_name() {
        let refused = Program::find(Some(Path::new("/nowhere/prometheus"))).err();
        assert_eq!(refused.as_ref().map(Error::code), Some("prometheus-missing"));
        assert_eq!(refused.as_ref().and_then(|e| e.fact("looked for")), Some("/nowhere/prometheus"));
        assert_eq!(Program::find(Some(Path::new("/bin/true"))).err().map(|e| e.code()), Some("prometheus-missing"));
    }
}
