//! Every row of every data file is mapped or refused with a reason, always under the same id.

use super::{lines, skipped::samples};
use model::intake::{Place, map};
use model::{Json, json};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

struct Count {
    mapped: usize,
    refused: BTreeMap<String, usize>,
}

fn map_file(path: &Path, ids: &mut HashSet<String>) -> Count {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap();
    let mut count = Count { mapped: 0, refused: BTreeMap::new() };
    for (at, line) in lines(path).iter().enumerate() {
        let place = Place { file, row: at + 1 };
        let row = json::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{file}:{}: {error}", at + 1));
        match map(place, &row) {
            Ok(mapped) => {
                assert_eq!(map(place, &row).unwrap(), mapped, "{file}:{}", at + 1);
                assert!(ids.insert(mapped.id), "{file}:{} has an id twice", at + 1);
                count.mapped += 1;
            }
            Err(error) => {
                let field = error.fact("field").map(|field| format!(" [{field}]")).unwrap_or_default();
                *count.refused.entry(format!("{}{field}", error.message())).or_default() += 1;
            }
        }
    }
    count
}

#[test]
fn every_row_is_mapped_or_refused_with_a_reason() {
    let Some(samples) = samples("intents") else { return };
    let mut ids = HashSet::new();
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(&samples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            let count = map_file(&path, &mut ids);
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            println!("{name}: {} mapped, {} refused", count.mapped, count.refused.values().sum::<usize>());
            for (reason, times) in &count.refused {
                println!("    {times} x {reason}");
            }
            counts.insert(name, (count.mapped, count.refused.values().sum::<usize>()));
        }
    }
    let expected = [
        ("ibn_5g_intents.jsonl", (5000, 0)),
        ("tmf921_scenarios.jsonl", (574, 0)),
        ("tmf921_generated.jsonl", (62, 0)),
        ("nephoran_nl_intents.jsonl", (684, 0)),
        ("sdn_flow_utterances.jsonl", (2205, 0)),
    ];
    for (name, wanted) in expected {
        assert_eq!(counts.get(name), Some(&wanted), "{name}");
    }
}

#[test]
fn network_intents_are_judged_as_their_definitions_judge_them() {
    let Some(samples) = samples("intents") else { return };
    let mut differ = Vec::new();
    for line in lines(&samples.join("nephoran_networkintents.jsonl")) {
        let row = json::parse(line.as_bytes()).unwrap();
        let resource = row.get("resource").unwrap();
        let ours = model::network_intent::mapped(resource);
        if let Some(theirs) = row.get("crd_valid").and_then(Json::as_bool)
            && ours.is_ok() != theirs
        {
            let id = row.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
            differ.push((id, ours.err().map(|error| error.to_string())));
        }
    }
    println!("judged otherwise than the definition: {differ:?}");
    // The definition contradicts itself on quantities (`type: object` beside int-or-string): this one is taken.
    assert!(differ.iter().all(|(id, refusal)| id == "neph-cr-036" && refusal.is_none()), "{differ:?}");
}
