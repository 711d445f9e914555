//! What a result was measured with: the code, the programs, the file system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The first line that a program says of its version; none where it is missing.
#[must_use]
pub fn version(program: &Path) -> Option<String> {
    first_line(Command::new(program).arg("--version"))
}

/// The commit that this was built from, marked when files differ from it; none outside of a repository.
#[must_use]
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    };
    let commit = first_line(&mut git(&["rev-parse", "HEAD"]))?;
    // Results are written one after the other: those alone make no other code.
    let changed = first_line(&mut git(&["status", "--porcelain", "--", ":/", ":!/docs/results", ":!/README.md"]));
    Some(if changed.is_some() { format!("{commit} with changes") } else { commit })
}

/// The name of the file system that a path lies on, as the kernel calls it.
#[must_use]
pub fn file_system(place: &Path) -> Option<String> {
    let place = fs::canonicalize(place).ok()?;
    named(&fs::read_to_string("/proc/self/mountinfo").ok()?, &place)
}

/// The innermost mount, and of several on one point the last: it hides the others.
fn named(mounts: &str, place: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?.replace("\\040", " "));
        place.starts_with(&point).then(|| (point.components().count(), after.split(' ').next().map(str::to_owned)))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).and_then(|(_, name)| name)
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().filter(|_| output.status.success()).map(str::trim)?;
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_names_the_file_system() {
        let mounts = "20 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            21 20 0:25 / /tmp rw - tmpfs tmpfs rw\n22 21 0:26 / /tmp/a\\040b rw - xfs /dev/vdb rw\n";
        for (place, name) in [("/var/tmp", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp/a b/c", "xfs"), ("/tmpx", "ext4")] {
            assert_eq!(named(mounts, Path::new(place)).as_deref(), Some(name), "{place}");
        }
        assert_eq!(named("no mount at all", Path::new("/")), None);
    }

    #[test]
    fn a_program_that_is_missing_has_no_version() {
        assert_eq!(version(Path::new("/nowhere/program")), None);
        assert!(version(Path::new("git")).is_none_or(|text| text.contains("git")));
    }
}
