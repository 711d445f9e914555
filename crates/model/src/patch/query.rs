//! JSON patch query (TMF630 part 5): a path that selects array elements by what they hold.
//!
//! Two spellings are read, both found in TM Forum's documents:
//! - a pointer with conditions, `/orderItem/quantity?productOffering.id=1513&action=add`: where the pointer meets an
//!   array and names no index, the elements that fulfil the conditions are meant. A condition names an attribute
//!   relative to the element, or from the document's root through the array. Without an array on the way the
//!   conditions speak of the document itself (`/description?version=1.0` in the official examples).
//! - JSONPath, `$.orderItem[?(@.productOffering.id=='1513' && @.action=='add')].quantity`, with `[n]` and `[*]`.

use crate::json::{Json, Pointer};
use crate::select::{Wanted, any_at, check_path, pairs};
use crate::{Error, Result};

/// What is meant when the path ends at an array: the array, or its elements that fulfil the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Elements,
}

struct Condition {
    path: String,
    wanted: Wanted,
}

impl Condition {
    fn holds(&self, value: &Json) -> bool {
        self.holds_at(value, &self.path)
    }
    fn holds_at(&self, value: &Json, path: &str) -> bool {
        any_at(value, path, &|found| self.wanted.equals(found))
    }
}

/// The places a path means, as pointers, in document order. None at all is an error.
pub(super) fn resolve(document: &Json, path: &str, end: End) -> Result<Vec<Vec<String>>> {
    let found = if path.starts_with('$') { json_path(document, path)? } else { pointer_query(document, path, end)? };
    if found.is_empty() {
        let message = "nothing in the resource fulfils the conditions of this path";
        return Err(Error::invalid("patch-target-absent", message).with("path", shown(path)));
    }
    Ok(found)
}

fn shown(path: &str) -> String {
    path.chars().take(160).collect()
}

fn pointer_query(document: &Json, path: &str, end: End) -> Result<Vec<Vec<String>>> {
    let (pointer, query) = path.split_once('?').unwrap_or((path, ""));
    let tokens = Pointer::parse(pointer)?.tokens;
    let conditions = pairs(query)?.into_iter().map(|(path, value)| {
        check_path(&path)?;
        Ok(Condition { path, wanted: Wanted::new(value) })
    });
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    let mut search = Search { conditions, end, found: Vec::new(), crossed_any: false };
    search.walk(document, &tokens, &mut Vec::new(), &mut Vec::new(), None);
    if !search.crossed_any && !search.conditions.iter().all(|condition| condition.holds(document)) {
        return Ok(Vec::new());
    }
    Ok(search.found)
}

struct Search {
    conditions: Vec<Condition>,
    end: End,
    found: Vec<Vec<String>>,
    crossed_any: bool,
}

impl Search {
    /// `at` is the way so far as tokens, `names` the same without indices; `outer` how many names led to the first
    /// array that was crossed.
    fn walk(
        &mut self,
        value: &Json,
        rest: &[String],
        at: &mut Vec<String>,
        names: &mut Vec<String>,
        outer: Option<usize>,
    ) {
        let ends_in_elements = rest.is_empty() && self.end == End::Elements && !self.conditions.is_empty();
        let names_index = rest.first().is_some_and(|token| token == "-" || crate::json::index(token).is_some());
        match value {
            Json::Array(items) if ends_in_elements || !(rest.is_empty() || names_index) => {
                self.crossed_any = true;
                for (index, item) in items.iter().enumerate() {
                    if self.selects(item, names, outer) {
                        at.push(index.to_string());
                        self.walk(item, rest, at, names, Some(outer.unwrap_or(names.len())));
                        at.pop();
                    }
                }
            }
            _ => self.onward(value, rest, at, names, outer),
        }
    }

    fn onward(
        &mut self,
        value: &Json,
        rest: &[String],
        at: &mut Vec<String>,
        names: &mut Vec<String>,
        outer: Option<usize>,
    ) {
        let Some((token, rest)) = rest.split_first() else {
            self.found.push(at.clone());
            return;
        };
        at.push(token.clone());
        match value.at(std::slice::from_ref(token)) {
            Some(next) => {
                let is_name = value.as_object().is_some();
                if is_name {
                    names.push(token.clone());
                }
                self.walk(next, rest, at, names, outer);
                if is_name {
                    names.pop();
                }
            }
            // The last token may name what an `add` is about to make.
            None if rest.is_empty() => self.found.push(at.clone()),
            None => {}
        }
        at.pop();
    }

    /// Whether an element of the array under `names` fulfils the conditions that speak of it.
    fn selects(&self, element: &Json, names: &[String], outer: Option<usize>) -> bool {
        let from_root = format!("{}.", names.join("."));
        let from_outer = outer.map(|outer| format!("{}.", names.get(outer..).unwrap_or_default().join(".")));
        self.conditions.iter().all(|condition| {
            let through = condition.path.strip_prefix(&from_root);
            match (through, &from_outer) {
                (Some(path), _) => condition.holds_at(element, path),
                (None, None) => condition.holds(element),
                (None, Some(prefix)) => {
                    condition.path.strip_prefix(prefix.as_str()).is_none_or(|path| condition.holds_at(element, path))
                }
            }
        })
    }
}

fn json_path(document: &Json, path: &str) -> Result<Vec<Vec<String>>> {
    let malformed = || {
        let message = "a JSONPath here has the form $.name[?(@.a.b=='value')].name, with [n] and [*]";
        Error::invalid("pointer-malformed", message).with("path", shown(path))
    };
    let mut rest = &path[1..];
    let mut found = vec![Vec::new()];
    while !rest.is_empty() {
        let (step, after) = next_step(rest).ok_or_else(malformed)?;
        rest = after;
        let last = rest.is_empty();
        found = found.iter().flat_map(|at| step.from(document, at, last)).collect();
    }
    Ok(found)
}

enum Step {
    Name(String),
    Index(usize),
    Where(Vec<Condition>),
}

impl Step {
    fn from(&self, document: &Json, at: &[String], last: bool) -> Vec<Vec<String>> {
        let under = |token: String| [at, &[token]].concat();
        match (self, document.at(at)) {
            (Self::Name(name), Some(value)) if last || value.get(name).is_some() => vec![under(name.clone())],
            (Self::Index(index), Some(Json::Array(items))) if *index < items.len() => vec![under(index.to_string())],
            (Self::Where(conditions), Some(Json::Array(items))) => {
                let meant = |item: &Json| conditions.iter().all(|condition| condition.holds(item));
                let indices = items.iter().enumerate().filter(|(_, item)| meant(item));
                indices.map(|(index, _)| under(index.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn next_step(rest: &str) -> Option<(Step, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return (end > 0).then(|| (Step::Name(rest[..end].to_owned()), &rest[end..]));
    }
    if let Some(rest) = rest.strip_prefix("[?(") {
        let end = rest.find(")]")?;
        return Some((Step::Where(conditions(&rest[..end])?), &rest[end + 2..]));
    }
    let rest = rest.strip_prefix('[')?;
    let end = rest.find(']')?;
    let (inside, after) = (&rest[..end], &rest[end + 1..]);
    let step = match unquoted(inside) {
        Some(name) => Step::Name(name.to_owned()),
        None if inside == "*" => Step::Where(Vec::new()),
        None => Step::Index(crate::json::index(inside)?),
    };
    Some((step, after))
}

fn conditions(text: &str) -> Option<Vec<Condition>> {
    text.split("&&")
        .map(|part| {
            let (path, value) = part.split_once("==").or_else(|| part.split_once('='))?;
            let path = path.trim().strip_prefix("@.")?.to_owned();
            let value = value.trim();
            check_path(&path).ok()?;
            Some(Condition { path, wanted: Wanted::new(unquoted(value).unwrap_or(value).to_owned()) })
        })
        .collect()
}

fn unquoted(text: &str) -> Option<&str> {
    let within = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    within('\'').or_else(|| within('"'))
}
