//! Whether everything one schema accepts is accepted by another, keyword by keyword.
//!
//! The old side is a conjunction (a schema, what it refers to, its `allOf`): a keyword of the new side is fine when any
//! member of the conjunction implies it. Alternatives of the old side are gone through one by one.

use super::{
    Documents, Node, bounds,
    types::{Types, listed},
};
use model::Json;
use std::collections::BTreeSet;

/// References and `allOf`s followed for one schema; beyond it less is claimed of the old side.
const MEMBERS_MAX: usize = 64;
/// Alternatives within alternatives of the old side; beyond it a difference is told.
const SPLITS_MAX: usize = 4;
const DEPTH_MAX: usize = 64;

/// Keywords that are the same on both sides or make a difference.
const ALONE: [&str; 5] = ["not", "propertyNames", "dependencies", "dependentRequired", "dependentSchemas"];
/// The same, but each means something only with the others of its group.
const TOGETHER: [&[&str]; 2] = [&["if", "then", "else"], &["contains", "minContains", "maxContains"]];
/// What they say depends on everything beside them: the same only in the same schema.
const WHOLE: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

static ANYTHING: Json = Json::Bool(true);

pub(super) fn differences(old: &Documents, new: &Documents) -> Vec<String> {
    let mut walk = Walk { old, new, seen: BTreeSet::new(), depth: 0, split: Vec::new() };
    walk.contained("$", &[old.root()], new.root())
}

struct Walk<'d> {
    old: &'d Documents,
    new: &'d Documents,
    /// Pairs under way or found contained, by address: a recursive schema is compared once.
    seen: BTreeSet<(Vec<usize>, usize)>,
    depth: usize,
    /// Schemas whose alternatives are being gone through.
    split: Vec<usize>,
}

fn address(node: Node<'_>) -> usize {
    std::ptr::from_ref(node.json).addr()
}

fn anything<'d>() -> Node<'d> {
    Node { document: 0, legacy: false, json: &ANYTHING }
}

/// Schemas that all apply: the given ones, what they refer to, their `allOf`s.
fn conjunction<'d>(documents: &'d Documents, nodes: &[Node<'d>]) -> Vec<Node<'d>> {
    let mut all: Vec<Node<'d>> = Vec::new();
    let mut open: Vec<Node<'d>> = nodes.to_vec();
    while let Some(node) = open.pop() {
        if all.len() >= MEMBERS_MAX || all.iter().any(|known| address(*known) == address(node)) {
            continue;
        }
        let reference = node.json.get("$ref").and_then(Json::as_str);
        open.extend(reference.and_then(|reference| documents.resolve(node, reference)));
        if reference.is_some() && node.legacy {
            continue;
        }
        all.push(node);
        open.extend(node.items("allOf"));
    }
    all
}

impl<'d> Walk<'d> {
    fn contained(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Vec<String> {
        let old = conjunction(self.old, old);
        let mut key: Vec<usize> = old.iter().map(|node| address(*node)).collect();
        key.sort_unstable();
        let refused = old.iter().any(|node| node.json.as_bool() == Some(false));
        if refused || self.seen.contains(&(key.clone(), address(new))) {
            return Vec::new();
        }
        let members = conjunction(self.new, &[new]);
        if self.depth >= DEPTH_MAX || members.len() >= MEMBERS_MAX {
            return vec![format!("{at}: too deep or too wide to compare")];
        }
        let before = self.seen.clone();
        self.seen.insert((key, address(new)));
        self.depth += 1;
        let mut told: Vec<String> = members.into_iter().flat_map(|member| self.member(at, &old, member)).collect();
        if !told.is_empty() {
            self.seen = before;
            told = self.by_alternatives(at, &old, new).unwrap_or(told);
        }
        self.depth -= 1;
        told
    }

    /// Each alternative of the old side alone; `None`: there are none to go through.
    fn by_alternatives(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Option<Vec<String>> {
        if self.split.len() >= SPLITS_MAX {
            return None;
        }
        let word_of = |node: &Node<'d>| ["anyOf", "oneOf"].into_iter().find(|word| node.json.get(word).is_some());
        let open = |node: &&Node<'d>| !self.split.contains(&address(**node));
        let (split, word) = old.iter().filter(open).find_map(|node| Some((*node, word_of(node)?)))?;
        self.split.push(address(split));
        let mut told = Vec::new();
        for (index, branch) in split.items(word).into_iter().enumerate() {
            let with: Vec<Node<'d>> = old.iter().copied().chain([branch]).collect();
            told.extend(self.contained(&format!("{at}({word} {index})"), &with, new));
        }
        self.split.pop();
        Some(told)
    }

    /// One member of the new side's conjunction, by its own keywords.
    fn member(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Vec<String> {
        if new.json.as_bool() == Some(false) {
            return vec![format!("{at}: nothing is accepted any more")];
        }
        let types = old.iter().fold(Types::ALL, |types, node| types.and(Types::of(*node)));
        let mut told = Vec::new();
        let accepted = new.json.get("type").map_or(Types::ALL, Types::declared);
        if !types.within(accepted) {
            told.push(format!("{at}: {} was accepted, only {} is", types.words(), accepted.words()));
        }
        told.extend(values(at, old, new));
        told.extend(bounds::differences(at, old, new, types));
        if types.meets(Types::STRING) {
            told.extend(pattern(at, old, new));
        }
        if types.meets(Types::OBJECT) {
            told.extend(required(at, old, new));
            told.extend(self.properties(at, old, new));
        }
        if types.meets(Types::ARRAY) {
            told.extend(self.elements(at, old, new));
        }
        told.extend(self.alternatives(at, old, new));
        told.extend(opaque(at, old, new));
        told
    }

    /// One alternative of the new side must take all that the old side accepts.
    fn alternatives(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Vec<String> {
        let mut told = Vec::new();
        for word in ["anyOf", "oneOf"] {
            let branches = new.items(word);
            if branches.is_empty() {
                continue;
            }
            let taken = branches.into_iter().any(|branch| self.contained(at, old, branch).is_empty());
            if !taken {
                told.push(format!("{at}: no alternative of {word} accepts all that was accepted"));
            }
        }
        told
    }

    fn properties(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Vec<String> {
        let mut told = Vec::new();
        for (name, schema) in new.members("properties") {
            let had: Vec<Node<'d>> = old.iter().map(|node| property(*node, name)).collect();
            told.extend(self.contained(&format!("{at}.{name}"), &had, schema));
        }
        for (pattern, schema) in new.members("patternProperties") {
            let had = old.iter().filter_map(|node| node.get("patternProperties")?.get(pattern));
            let had: Vec<Node<'d>> = had.collect();
            let told_here = self.contained(&format!("{at}./{pattern}/"), &had, schema);
            told.extend(told_here);
        }
        let Some(others) = new.get("additionalProperties") else { return told };
        let known = |name: &str| new.get("properties").is_some_and(|all| all.json.get(name).is_some());
        let mut names = BTreeSet::new();
        for (name, _) in old.iter().flat_map(|node| node.members("properties")) {
            if !known(name) && names.insert(name) {
                let had: Vec<Node<'d>> = old.iter().map(|node| property(*node, name)).collect();
                told.extend(self.contained(&format!("{at}.{name}"), &had, others));
            }
        }
        let had: Vec<Node<'d>> = old.iter().map(|node| unnamed(*node, new)).collect();
        told.extend(self.contained(&format!("{at}.*"), &had, others));
        told
    }

    fn elements(&mut self, at: &str, old: &[Node<'d>], new: Node<'d>) -> Vec<String> {
        let mut told = Vec::new();
        if new.json.get("uniqueItems").and_then(Json::as_bool) == Some(true)
            && !old.iter().any(|node| node.json.get("uniqueItems").and_then(Json::as_bool) == Some(true))
        {
            told.push(format!("{at}: uniqueItems is stricter"));
        }
        let (first, rest) = tuple(new);
        let longest = old.iter().map(|node| tuple(*node).0.len()).max().unwrap_or(0).max(first.len());
        for place in 0..longest {
            let had: Vec<Node<'d>> = old.iter().map(|node| element(*node, place)).collect();
            let wanted = first.get(place).copied().unwrap_or(rest);
            told.extend(self.contained(&format!("{at}[{place}]"), &had, wanted));
        }
        let had: Vec<Node<'d>> = old.iter().map(|node| tuple(*node).1).collect();
        told.extend(self.contained(&format!("{at}[]"), &had, rest));
        told
    }
}

/// What a schema says of a property; a pattern may take the name, and then nothing is claimed.
fn property<'d>(node: Node<'d>, name: &str) -> Node<'d> {
    let named = node.get("properties").and_then(|all| all.get(name));
    let others = || node.get("additionalProperties").filter(|_| node.get("patternProperties").is_none());
    named.or_else(others).unwrap_or_else(anything)
}

/// What a schema says of properties that the reader has neither by name nor by pattern.
fn unnamed<'d>(node: Node<'d>, new: Node<'d>) -> Node<'d> {
    let theirs = |pattern: &str| new.get("patternProperties").is_some_and(|all| all.json.get(pattern).is_some());
    let covered = node.members("patternProperties").into_iter().all(|(pattern, _)| theirs(pattern));
    node.get("additionalProperties").filter(|_| covered).unwrap_or_else(anything)
}

/// Schemas of the first elements, and of all the others.
fn tuple(node: Node<'_>) -> (Vec<Node<'_>>, Node<'_>) {
    let older = node.items("items");
    if node.legacy && older.is_empty() {
        return (Vec::new(), node.get("items").unwrap_or_else(anything));
    }
    let (first, rest) =
        if older.is_empty() { (node.items("prefixItems"), "items") } else { (older, "additionalItems") };
    (first, node.get(rest).unwrap_or_else(anything))
}

fn element(node: Node<'_>, place: usize) -> Node<'_> {
    let (first, rest) = tuple(node);
    first.get(place).copied().unwrap_or(rest)
}

fn values(at: &str, old: &[Node<'_>], new: Node<'_>) -> Vec<String> {
    let Some(accepted) = listed(new) else { return Vec::new() };
    let gone = |had: &[Json]| -> Vec<String> {
        had.iter().filter(|value| !accepted.iter().any(|one| one.same(value))).map(Json::to_string).collect()
    };
    match old.iter().filter_map(|node| listed(*node)).map(gone).min_by_key(Vec::len) {
        None => vec![format!("{at}: only listed values are accepted")],
        Some(gone) if gone.is_empty() => Vec::new(),
        Some(gone) => vec![format!("{at}: no longer accepted: {}", gone.join(", "))],
    }
}

fn pattern(at: &str, old: &[Node<'_>], new: Node<'_>) -> Option<String> {
    let wanted = new.json.get("pattern")?;
    let had = old.iter().any(|node| node.json.get("pattern") == Some(wanted));
    (!had).then(|| format!("{at}: pattern {wanted} is new"))
}

/// A property that becomes required is fine when it has a default, which readers fill in.
fn required(at: &str, old: &[Node<'_>], new: Node<'_>) -> Vec<String> {
    let names = |node: &Node<'_>| -> Vec<String> {
        node.items("required").iter().filter_map(|item| item.json.as_str().map(str::to_owned)).collect()
    };
    let had: BTreeSet<String> = old.iter().flat_map(names).collect();
    let default = |name: &str| new.json.dig(&["properties", name, "default"]).is_some();
    let fresh = names(&new).into_iter().filter(|name| !had.contains(name) && !default(name));
    fresh.map(|name| format!("{at}.{name}: is required and has no default")).collect()
}

/// What is not taken apart is the same in one member of the old side, or a difference.
fn opaque(at: &str, old: &[Node<'_>], new: Node<'_>) -> Vec<String> {
    let alike = |word: &str, had: &Node<'_>| match (had.json.get(word), new.json.get(word)) {
        (None, None) => true,
        (Some(had), Some(wanted)) => had.same(wanted) && is_plain(wanted),
        _ => false,
    };
    let has = |word: &&str| new.json.get(word).is_some();
    let mut told: Vec<&str> =
        ALONE.into_iter().filter(has).filter(|word| !old.iter().any(|had| alike(word, had))).collect();
    for group in TOGETHER {
        let same = old.iter().any(|had| group.iter().all(|word| alike(word, had)));
        told.extend(group.iter().filter(|word| has(word) && !same));
    }
    let whole = is_plain(new.json) && old.iter().any(|had| had.json.same(new.json));
    told.extend(WHOLE.into_iter().filter(|word| has(word) && !whole));
    told.extend(["$dynamicRef", "$recursiveRef"].into_iter().filter(has));
    told.into_iter().map(|word| format!("{at}: {word} is new or other, which cannot be compared")).collect()
}

/// Refers to nothing, so that the same text means the same.
fn is_plain(json: &Json) -> bool {
    !json.to_string().contains("Ref\"") && !json.to_string().contains("\"$ref\"")
}

#[cfg(test)]
mod tests;
