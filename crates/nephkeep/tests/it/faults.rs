//! The environment's faults: each a clear error with a code and a remedy, exit 4, and a start once the cause is gone.

use super::shared::{Done, Home};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, process::Command};

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

/// A file system of its own for one directory; unmounted at the end, whatever happens.
struct SmallDisk<'h>(&'h Home);

impl SmallDisk<'_> {
    fn mount(home: &Home) -> Option<SmallDisk<'_>> {
        fs::create_dir_all(home.directory()).unwrap();
        let (kind, size) = (["-t", "tmpfs"], ["-o", "size=160m,mode=0755"]);
        let mounted = Command::new("mount").args(kind).args(size).arg("none").arg(home.directory()).output().ok()?;
        mounted.status.success().then_some(SmallDisk(home))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _stopped = self.0.run(&["down"]);
        let _unmounted = Command::new("umount").arg(self.0.directory()).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_they_go_on_when_there_is_room() {
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home) else {
        eprintln!("skipped: no file system can be mounted here (this needs root)");
        return;
    };
    home.up();
    let intent =
        home.write("intent.json", r#"{"@type":"Intent","name":"full","expression":{"@type":"E","iri":"urn:x"}}"#);
    let create = |home: &Home| home.run(&["intent", "create", intent.to_str().unwrap(), "-o", "json"]);
    create(&home).exits(0);
    let ballast = home.directory().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
    // What PostgreSQL has set aside already is used up first.
    let refused = (0..5_000).map(|_| create(&home)).find(|done| done.code != 0).expect("writes on a full disk");
    assert!(refused.code == 4 && refused.err.contains("error["), "{refused:?}");
    assert!(!refused.err.contains("error[bug]"), "{refused:?}");
    drop(file);
    fs::remove_file(&ballast).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while create(&home).code != 0 {
        assert!(std::time::Instant::now() < until, "writes do not go on: {:?}", create(&home));
    }
    home.run(&["status"]).exits(0);
    drop(disk);
}
