//! The environment's faults: each a clear error with a code and a remedy, exit 4, and a start once the cause is gone.

use super::shared::{Done, Home};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

#[track_caller]
fn refused(done: Done, code: &str) {
    let done = done.exits(4);
    assert!(done.err.contains(&format!("error[{code}]")), "{}", done.err);
    assert!(done.err.contains("what to do:"), "{}", done.err);
}

#[test]
fn a_taken_port_is_named_and_free_again_later() {
    let home = Home::new();
    let taken = TcpListener::bind(("127.0.0.1", home.port)).unwrap();
    let listen = format!("127.0.0.1:{}", home.port);
    refused(home.run(&["up", "--listen", &listen]), "port-taken");
    refused(home.run(&["up", "--detach", "--listen", &listen]), "port-taken");
    drop(taken);
    home.up();
}

#[test]
fn a_missing_or_foreign_keystore_is_refused() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let (slots, aside) = (home.directory().join("slots"), home.beside("slots"));
    fs::rename(&slots, &aside).unwrap();
    refused(home.run(&["up", "--listen", "127.0.0.1:0"]), "keystore-slots-missing");
    fs::rename(&aside, &slots).unwrap();

    let other = Home::new();
    other.up();
    other.run(&["down"]).exits(0);
    for part in ["keystore", "slots", "host"] {
        fs::rename(home.directory().join(part), home.beside(part)).unwrap();
        fs::rename(other.directory().join(part), home.directory().join(part)).unwrap();
    }
    refused(home.run(&["up", "--listen", "127.0.0.1:0"]), "keystore-other");
    for part in ["keystore", "slots", "host"] {
        fs::rename(home.directory().join(part), other.directory().join(part)).unwrap();
        fs::rename(home.beside(part), home.directory().join(part)).unwrap();
    }
    home.up();
}

/// A disk that is not mounted must not become an empty record, nor another record this one.
#[test]
fn a_vanished_or_foreign_record_is_refused() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let (record, aside) = (home.directory().join("record"), home.beside("record"));
    fs::rename(&record, &aside).unwrap();
    refused(home.run(&["up", "--listen", "127.0.0.1:0"]), "record-missing");
    assert!(!record.join("data").exists(), "an empty record was made");

    let other = Home::new();
    other.up();
    other.run(&["down"]).exits(0);
    let theirs = other.directory().join("record");
    fs::rename(&theirs, &record).unwrap();
    refused(home.run(&["up", "--listen", "127.0.0.1:0"]), "record-other");
    fs::rename(&record, &theirs).unwrap();
    fs::rename(&aside, &record).unwrap();
    home.up();
}

#[test]
fn an_exposed_credential_is_not_used() {
    let home = Home::new();
    home.up();
    let credential = home.directory().join("admin-credential");
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o644)).unwrap();
    refused(home.run(&["intent", "list"]), "credential-exposed");
    assert!(home.run(&["doctor"]).exits(1).out.contains("FAIL"));
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o600)).unwrap();
    home.run(&["intent", "list"]).exits(0);
}

#[test]
fn a_postgresql_that_is_missing_or_too_old_is_named() {
    let home = Home::new();
    let bin = home.beside("bin");
    fs::create_dir(&bin).unwrap();
    let up = |home: &Home| -> Done {
        let mut command = home.command();
        command.env("NEPHKEEP_PG_BIN", &bin).args(["up", "--listen", "127.0.0.1:0"]);
        command.output().unwrap().into()
    };
    refused(up(&home), "postgresql-missing");
    for program in ["postgres", "initdb", "pg_ctl"] {
        fs::write(bin.join(program), "#!/bin/sh\necho \"$(basename $0) (PostgreSQL) 11.22\"\n").unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    refused(up(&home), "postgresql-too-old");
}

#[test]
fn serve_starts_no_postgresql_of_its_own() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    refused(home.run(&["serve", "--listen", "127.0.0.1:0"]), "record-not-served");
    refused(home.run(&["up", "--listen", "0.0.0.0:0"]), "listener-exposed");
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[test]
fn broken_settings_are_refused_before_anything_starts() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let settings = home.directory().join("nephkeep.toml");
    let good = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, good.replace("[audit]", "[audti]")).unwrap();
    let done = home.run(&["up"]);
    assert!(done.err.contains("error[settings-malformed]"), "{}", done.err);
    assert_eq!(home.processes(), Vec::<String>::new());
}
