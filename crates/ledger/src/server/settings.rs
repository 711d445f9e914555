//! The settings file of the private server, written anew at each start.
//!
//! Durability is not negotiable (DESIGN 4): fsync, full_page_writes and synchronous_commit stay on, whatever `own.conf`
//! says; `ALTER SYSTEM` could still win, so the record also asks what is in force (`durability`). The log is terse and
//! carries neither statements nor parameters, so that values never leak into it.

use std::{fmt::Write as _, path::Path};

/// Bytes of `sun_path` that a socket may use, its terminator excluded.
pub(super) const SOCKET_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// Only names the socket file: the server listens on no network address.
pub(super) const PORT: u16 = 5432;

/// Counts what statements cost; a part of PostgreSQL's contributed modules, which not every installation has.
pub(super) const STATEMENTS: &str = "pg_stat_statements";
/// Only statements that clients send, whose values PostgreSQL takes out; not commands, whose text is kept as it is.
const COUNTED: [(&str, &str); 3] = [
    ("shared_preload_libraries", STATEMENTS),
    ("pg_stat_statements.track", "top"),
    ("pg_stat_statements.track_utility", "off"),
];

/// After the user's own file: not theirs to switch off. Only tests and the control of the power cut come later.
const DURABLE: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];

const FIXED: [(&str, &str); 32] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "64"),
    ("password_encryption", "scram-sha-256"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("default_transaction_isolation", "serializable"),
    ("jit", "off"),
    ("huge_pages", "off"),
    ("wal_level", "replica"),
    ("wal_compression", "off"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    ("max_wal_senders", "8"),
    ("max_worker_processes", "4"),
    ("autovacuum_max_workers", "2"),
    // The head row gets a new version with every commit: a minute is long.
    ("autovacuum_naptime", "15s"),
    ("restart_after_crash", "on"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] "),
    // An ERROR is told to its client, and its very message may quote a value: only what concerns the server is kept.
    ("log_min_messages", "log"),
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_min_duration_statement", "-1"),
    ("log_statement", "none"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_checkpoints", "on"),
];

pub(super) const HOST_BASED: &str = "\
# Written by nephkeep at each start. The server listens on its socket only.
local all         all scram-sha-256
local replication all scram-sha-256
";

/// The whole of `postgresql.conf`. `statements`: they can be counted. `extra` comes last and wins.
pub(super) fn render(socket_dir: &Path, statements: bool, extra: &[(String, String)]) -> String {
    let mut text = String::from(
        "# Written by nephkeep at each start: changes here are lost.\n# Your own settings belong into own.conf beside this file.\n",
    );
    let socket_dir = socket_dir.to_string_lossy().replace('"', "\"\"");
    let sized =
        [("unix_socket_directories", format!("\"{socket_dir}\"")), ("shared_buffers", shared_buffers(memory_bytes()))];
    let fixed = FIXED.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let counted = if statements { &COUNTED[..] } else { &[] };
    let counted = counted.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in fixed.chain(counted).chain(sized) {
        line(&mut text, name, &value);
    }
    text.push_str("include_if_exists = 'own.conf'\n");
    for (name, value) in DURABLE {
        line(&mut text, name, value);
    }
    for (name, value) in extra {
        line(&mut text, name, value);
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let value = value.replace('\\', "\\\\").replace('\'', "''");
    let _ = writeln!(text, "{name} = '{value}'");
}

/// A sixteenth of the memory, between 32 and 256 MB: documents are cached by us, so a small pool serves.
fn shared_buffers(memory: u64) -> String {
    let megabytes = (memory / 16 / (1 << 20)).clamp(32, 256);
    format!("{megabytes}MB")
}

/// The machine's memory, or less where a control group says so.
fn memory_bytes() -> u64 {
    const UNKNOWN: u64 = 2 << 30;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine_bytes().unwrap_or(UNKNOWN).min(limit.unwrap_or(u64::MAX))
}

fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_and_values_are_quoted() {
        let extra = [("a.b".to_owned(), r"it's \ here".to_owned())];
        let text = render(Path::new("/tmp/a, \"b\" 'c'"), false, &extra);
        assert!(text.contains(r#"unix_socket_directories = '"/tmp/a, ""b"" ''c''"'"#), "{text}");
        assert!(text.ends_with("a.b = 'it''s \\\\ here'\n"), "{text}");
    }

    #[test]
    fn statements_are_counted_only_where_the_library_is() {
        assert!(render(Path::new("/tmp"), true, &[]).contains("shared_preload_libraries = 'pg_stat_statements'"));
        assert!(!render(Path::new("/tmp"), false, &[]).contains(STATEMENTS));
    }

    #[test]
    fn the_pool_follows_the_memory_within_bounds() {
        let sizes = [0, 1 << 30, 2 << 30, 64 << 30].map(shared_buffers);
        assert_eq!(sizes, ["32MB", "64MB", "128MB", "256MB"]);
    }

    #[test]
    fn nothing_that_keeps_data_is_switched_off() {
        let extra = [("fsync".to_owned(), "off".to_owned())];
        let text = render(Path::new("/tmp/socket"), true, &extra);
        let own = text.find("include_if_exists").unwrap();
        for name in crate::durability::SETTINGS {
            assert!(text.find(&format!("{name} = 'on'\n")).unwrap() > own, "{name} comes after own.conf: {text}");
        }
        assert!(text.ends_with("fsync = 'off'\n"), "the control of the power cut wins: {text}");
    }
}
