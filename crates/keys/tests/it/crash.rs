//! A process that takes and destroys keys is killed with SIGKILL at arbitrary points; the keystore always opens, no
//! key id comes twice, no acknowledged erasure is undone, no other key is lost.

use crate::{clear, open, seal};
use keys::{KeyId, Keystore, Opened, Settings};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

const ROOM: &str = "NEPHKEEP_TEST_KEYSTORE";
const ROUNDS: usize = 8;

/// Not a test of its own: the process that the test below starts and kills.
#[test]
fn churn() {
    let Some(root) = std::env::var_os(ROOM) else { return };
    let keystore = Keystore::open(&Settings::under(Path::new(&root))).unwrap();
    let mut out = std::io::stdout();
    let mut say = |what: &str, key: KeyId, envelope: &[u8]| {
        writeln!(out, "\n{what} {} {}", key.0, hex::encode(envelope)).unwrap();
        out.flush().unwrap();
    };
    loop {
        let (kept, doomed) = (keystore.take_key().unwrap(), keystore.take_key().unwrap());
        say("taken", kept, &seal(&keystore, kept));
        say("doomed", doomed, &seal(&keystore, doomed));
        if keystore.destroy(&[doomed]).unwrap().is_complete() {
            say("destroyed", doomed, b"");
        }
        keystore.rotate_key(kept).unwrap();
        assert!(keystore.rotate_epoch().unwrap().is_complete());
    }
}

#[derive(Default)]
struct Seen {
    envelopes: BTreeMap<u64, Vec<u8>>,
    doomed: Vec<u64>,
    destroyed: Vec<u64>,
}

impl Seen {
    fn line(&mut self, line: &str) -> bool {
        let words: Vec<_> = line.split(' ').collect();
        let [what @ ("taken" | "doomed" | "destroyed"), key, envelope] = words[..] else { return false };
        let key = key.parse().unwrap();
        match what {
            "destroyed" => self.destroyed.push(key),
            _ => assert!(self.envelopes.insert(key, hex::decode(envelope).unwrap()).is_none(), "key {key} came twice"),
        }
        if what == "doomed" {
            self.doomed.push(key);
        }
        true
    }

    fn check(&self, keystore: &Keystore) {
        for (id, envelope) in &self.envelopes {
            let opened = open(keystore, KeyId(*id), envelope).unwrap();
            if self.destroyed.contains(id) {
                assert_eq!(opened, Opened::Erased, "key {id} came back");
            } else if !self.doomed.contains(id) {
                assert_eq!(opened, clear(), "key {id} was lost");
            }
        }
    }
}

#[test]
fn a_keystore_killed_at_arbitrary_points_always_opens() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings::under(root.path());
    drop(Keystore::create(&settings).unwrap());
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::churn", "--nocapture"])
            .env(ROOM, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::io::Result::ok);
        let mut wanted = 3 + 5 * round;
        while wanted > 0 {
            let line = lines.next().expect("the child stopped by itself");
            wanted -= usize::from(seen.line(&line));
        }
        child.kill().unwrap();
        // What it still had said; its last line may be cut off.
        let rest: Vec<String> = lines.collect();
        rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| {
            seen.line(line);
        });
        child.wait().unwrap();
        let keystore = Keystore::open(&settings).unwrap();
        seen.check(&keystore);
        assert!(keystore.status().unwrap().is_healthy());
        let next = keystore.take_key().unwrap();
        assert!(seen.envelopes.keys().all(|id| *id < next.0));
    }
    assert!(seen.destroyed.len() > ROUNDS);
}
