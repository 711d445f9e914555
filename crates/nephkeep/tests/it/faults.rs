//! The environment's faults: each a clear error with a code and a remedy, exit 4, and a start once the cause is gone.

use super::shared::{Done, Home, kill_9};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

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
    let doctor = home.run(&["doctor", "-o", "json"]).exits(1).json();
    assert!(finding(&doctor, "keystore")["remedy"].as_str().unwrap().contains("keystore-other"), "{doctor}");
    for part in ["keystore", "slots", "host"] {
        fs::rename(home.directory().join(part), other.directory().join(part)).unwrap();
        fs::rename(home.beside(part), home.directory().join(part)).unwrap();
    }
    let id = home.directory().join("keystore.id");
    let named = fs::read_to_string(&id).unwrap();
    let doctor = home.run(&["doctor", "-o", "json"]).json();
    let found = finding(&doctor, "keystore");
    assert!(found["grade"] == "ok" && found["found"].as_str().unwrap().contains(&named), "{found}");
    let unasked = finding(&doctor, "record")["found"].as_str().unwrap().to_owned();
    assert!(unasked.contains("not checked"), "what only the record knows: {unasked}");

    fs::write(&id, "what?").unwrap();
    refused(home.run(&["up", "--listen", "127.0.0.1:0"]), "keystore-id-damaged");
    fs::remove_file(&id).unwrap();
    let doctor = home.run(&["doctor", "-o", "json"]).json();
    assert!(finding(&doctor, "keystore")["found"].as_str().unwrap().contains("cannot be checked"), "{doctor}");
    home.up();
    assert_eq!(fs::read_to_string(&id).unwrap(), named, "the record knows it");
    let doctor = home.run(&["doctor", "-o", "json"]).json();
    assert_eq!(finding(&doctor, "keystore of the record")["grade"], "ok", "{doctor}");
}

/// The first finding of a check, as `doctor -o json` tells it.
#[track_caller]
pub fn finding(doctor: &serde_json::Value, check: &str) -> serde_json::Value {
    let findings = doctor["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check}: {doctor}")).clone()
}

#[test]
fn files_that_others_may_read_are_refused_by_name() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let cases = [
        ("slots/a/epoch.slot", "keystore-permissions"),
        ("host/host.key", "keystore-permissions"),
        ("keystore/b", "keystore-permissions"),
        ("audit-key", "audit-key-exposed"),
    ];
    for (name, code) in cases {
        let path = secret(&home.directory().join(name));
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o044)).unwrap();
        let done = home.run(&["up", "--listen", "127.0.0.1:0"]);
        fs::set_permissions(&path, before).unwrap();
        refused(done, code);
        assert_eq!(home.processes(), Vec::<String>::new());
    }
    home.up();
}

/// A directory of keys stands for the private one in it.
fn secret(path: &Path) -> PathBuf {
    if path.ends_with("audit-key") {
        let entries = fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
        return entries.min_by_key(|path| fs::metadata(path).unwrap().mode() & 0o077).unwrap();
    }
    path.to_owned()
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
fn a_postgresql_that_would_lose_what_it_commits_is_not_written_to() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let data = home.directory().join("record/data");
    let own = data.join("own.conf");
    fs::write(&own, "fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n").unwrap();
    home.up();
    let doctor = home.run(&["doctor", "-o", "json"]).json();
    assert_eq!(finding(&doctor, "fsync")["grade"], "ok", "own.conf cannot switch it off: {doctor}");
    home.run(&["down"]).exits(0);
    let system = data.join("postgresql.auto.conf");
    let before = fs::read_to_string(&system).unwrap();
    fs::write(&system, format!("{before}fsync = 'off'\n")).unwrap();
    for arguments in [&["up", "--listen", "127.0.0.1:0"][..], &["up", "--detach", "--listen", "127.0.0.1:0"]] {
        let done = home.run(arguments);
        assert!(done.err.contains("fsync = off") && done.err.contains("postgresql.auto.conf line"), "{}", done.err);
        refused(done, "record-not-durable");
        assert_eq!(home.processes(), Vec::<String>::new());
    }
    fs::write(&system, before).unwrap();
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

/// A PostgreSQL whose programs are gone too cannot be started again, until they are back.
#[test]
fn a_postgresql_that_is_gone_is_told_and_used_again_when_it_is_back() {
    let home = Home::new();
    let doctor = home.run(&["doctor", "-o", "json"]).json();
    let found = finding(&doctor, "postgresql")["found"].as_str().unwrap().to_owned();
    let programs = fs::read_dir(found.split_once(" in ").unwrap().1).unwrap().flatten().map(|entry| entry.path());
    let programs: Vec<PathBuf> = programs.collect();
    let (bin, away) = (home.beside("bin"), home.beside("away"));
    fs::create_dir(&bin).unwrap();
    programs.iter().for_each(|program| symlink(program, bin.join(program.file_name().unwrap())).unwrap());
    let mut up = home.command();
    up.env("NEPHKEEP_PG_BIN", &bin).args(["up", "--detach", "--listen", &format!("127.0.0.1:{}", home.port)]);
    Done::from(up.output().unwrap()).exits(0);

    fs::rename(&bin, &away).unwrap();
    let postmaster = fs::read_to_string(home.directory().join("record/data/postmaster.pid")).unwrap();
    kill_9(postmaster.lines().next().unwrap().parse().unwrap());
    // What was in flight may still be answered.
    let gone = (0..1_000).map(|_| home.run(&["intent", "list"])).find(|done| done.code != 0).unwrap();
    assert!(gone.code == 4 && gone.err.contains("error[record-"), "{gone:?}");
    let doctor = home.run(&["doctor", "-o", "json"]).exits(1).json();
    assert_eq!(finding(&doctor, "readiness")["grade"], "fail", "{doctor}");
    fs::rename(&away, &bin).unwrap();
    until(|| home.run(&["intent", "list"]).code == 0, "it is not used again");
}

#[track_caller]
pub fn until(mut done: impl FnMut() -> bool, what: &str) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !done() {
        assert!(std::time::Instant::now() < limit, "{what}");
    }
}

/// A file system of its own for one directory; unmounted at the end, whatever happens.
struct SmallDisk<'h> {
    home: &'h Home,
    place: PathBuf,
}

impl SmallDisk<'_> {
    fn mount<'h>(home: &'h Home, place: PathBuf, options: &str) -> Option<SmallDisk<'h>> {
        fs::create_dir_all(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&place).output().ok()?;
        if !mounted.status.success() {
            testkit::skipped::skipped("no file system can be mounted here (this needs root)");
            return None;
        }
        Some(SmallDisk { home, place })
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.place).status().unwrap().success());
    }

    /// Every byte that is left.
    fn fill(&self) -> PathBuf {
        let ballast = self.place.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _stopped = self.home.run(&["down"]);
        let _unmounted = Command::new("umount").arg(&self.place).status();
    }
}

/// Of a customer, who has a key of its own.
fn of_customer(home: &Home, customer: &str) -> Done {
    named(home, &format!("of-{customer}"), customer)
}

fn named(home: &Home, id: &str, customer: &str) -> Done {
    let party = format!(
        r#"[{{"@type":"RelatedPartyRefOrPartyRoleRef","role":"Customer","partyOrPartyRole":{{"@type":"PartyRef","id":"{customer}","name":"x","@referredType":"Individual"}}}}]"#
    );
    let intent = format!(
        r#"{{"@type":"Intent","id":"{id}","name":"x","relatedParty":{party},"expression":{{"@type":"E","iri":"urn:x"}}}}"#
    );
    home.run_with(&["intent", "create", "-o", "json"], &intent)
}

#[track_caller]
fn refused_by_keystore(home: &Home, customer: &str, code: &str) {
    let done = of_customer(home, customer).exits(4);
    assert!(done.err.contains(&format!("\"code\":\"{code}\"")) && done.err.contains("keystore"), "{done:?}");
    let doctor = home.run(&["doctor", "-o", "json"]).exits(1).json();
    let readiness = finding(&doctor, "readiness");
    assert!(readiness["found"].as_str().unwrap().contains("keystore"), "/readyz names the cause: {readiness}");
    // Whoever has a key already goes on.
    home.run(&["intent", "list"]).exits(0);
}

#[test]
fn a_keystore_disk_that_is_full_or_read_only_refuses_new_subjects_until_it_is_not() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let Some(disk) = SmallDisk::mount(&home, home.directory().join("keystore/b"), "size=128k,mode=0700") else {
        return;
    };
    // What the lost directory held is written again.
    home.up();
    assert_eq!(finding(&home.run(&["doctor", "-o", "json"]).json(), "readiness")["grade"], "ok");
    let ballast = disk.fill();
    refused_by_keystore(&home, "c-1", "disk-full");
    fs::remove_file(ballast).unwrap();
    let is_ready = || finding(&home.run(&["doctor", "-o", "json"]).json(), "readiness")["grade"] == "ok";
    until(is_ready, "not ready, although there is room again");
    of_customer(&home, "c-1").exits(0);

    // A server that starts on it needs a block for the first new subject.
    home.run(&["down"]).exits(0);
    disk.remount("ro");
    home.up();
    refused_by_keystore(&home, "c-2", "keystore-unwritable");
    disk.remount("rw");
    until(is_ready, "not ready, although it can be written again");
    of_customer(&home, "c-2").exits(0);
    drop(disk);
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn a_keystore_that_was_rolled_back_is_refused_and_the_kit_is_a_way_through() {
    let home = Home::new();
    home.up();
    of_customer(&home, "kept").exits(0);
    of_customer(&home, "erased").exits(0);
    home.run(&["down"]).exits(0);
    let parts = ["keystore", "slots"];
    parts.iter().for_each(|part| copy(&home.directory().join(part), &home.beside(part)));
    home.up();
    let status = home.run(&["status", "-o", "json"]).exits(0).json();
    let incarnation = status["incarnation"].as_str().unwrap().to_owned();
    home.run(&["keys", "destroy-subject", "erased", "--incarnation", &incarnation]).exits(0);
    of_customer(&home, "lost").exits(0);
    let needed = home.run(&["keys", "status", "-o", "json"]).exits(0).json()["generation"].as_u64().unwrap();
    home.run(&["down"]).exits(0);
    for part in parts {
        fs::remove_dir_all(home.directory().join(part)).unwrap();
        copy(&home.beside(part), &home.directory().join(part));
    }

    let up = ["up", "--listen", "127.0.0.1:0"];
    refused(home.run(&up), "keystore-too-old");
    assert_eq!(home.processes(), Vec::<String>::new());
    let kit = home.directory().join("recovery-kit.txt");
    let recover = ["keys", "recover", "--kit", kit.to_str().unwrap(), "-o", "json"];
    let found = home.run(&recover).exits(0).json()["generation"].as_u64().unwrap();
    refused(home.run(&up), "keystore-too-old");
    let accept = |generation: u64| home.run(&[&recover[..], &["--accept-older", &generation.to_string()]].concat());
    let other = accept(found + 1).exits(3);
    assert!(other.err.contains("\"generation-unconfirmed\""), "{}", other.err);
    let accepted = accept(found).exits(0);
    assert!(accepted.err.contains("1 subjects had their key only there"), "{}", accepted.err);
    let told = accepted.json();
    assert_eq!((told["found"].as_u64(), told["demanded"].as_u64()), (Some(found), Some(needed)), "{told}");
    assert_eq!((told["subjects_lost"].as_u64(), told["erased_again"].as_u64()), (Some(1), Some(1)), "{told}");
    assert_eq!(home.processes(), Vec::<String>::new());

    home.up();
    home.run(&["intent", "get", "of-kept"]).exits(0);
    for gone in ["of-erased", "of-lost"] {
        let done = home.run(&["intent", "get", gone]).exits(1);
        assert!(done.err.contains("erased"), "{}", done.err);
    }
    assert_ne!(named(&home, "again", "erased").code, 0);
    named(&home, "again", "lost").exits(0);
    home.run(&["intent", "get", "again"]).exits(0);
}

#[test]
fn a_full_disk_refuses_writes_and_they_go_on_when_there_is_room() {
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home, home.directory(), "size=160m,mode=0755") else { return };
    home.up();
    let intent =
        home.write("intent.json", r#"{"@type":"Intent","name":"full","expression":{"@type":"E","iri":"urn:x"}}"#);
    let create = |home: &Home| home.run(&["intent", "create", intent.to_str().unwrap(), "-o", "json"]);
    create(&home).exits(0);
    home.run_with(&["configuration", "set", "ran/shown"], r#"{"class":"public","n":1}"#).exits(0);
    let ballast = disk.fill();
    // What PostgreSQL has set aside already is used up first.
    let refused = (0..5_000).map(|_| create(&home)).find(|done| done.code != 0).expect("writes on a full disk");
    let code = |done: &Done| {
        let line = done.err.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{done:?}"));
        serde_json::from_str::<serde_json::Value>(line).unwrap()["error"]["code"].as_str().unwrap().to_owned()
    };
    // PostgreSQL's room or the audit log's is used up, whichever comes first; without room for its log PostgreSQL goes.
    let known = ["disk-full", "audit-unavailable", "record-unreachable", "outcome-unknown"];
    assert!(refused.code == 4 && known.contains(&&*code(&refused)), "{refused:?}");
    // A document whose reading needs no entry is read; another is shown, or the audit log is named.
    let shown = home.run(&["configuration", "get", "ran/shown", "-o", "json"]).exits(0);
    assert!(shown.out.contains("public"), "{}", shown.out);
    let listed = home.run(&["intent", "list", "-o", "json"]);
    assert!(listed.code == 0 || code(&listed) == "audit-unavailable", "{listed:?}");
    fs::remove_file(&ballast).unwrap();
    until(|| create(&home).code == 0, "writes do not go on");
    home.run(&["status"]).exits(0);
    drop(disk);
}
