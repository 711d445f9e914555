//! JSON patch: the six operations of RFC 6902 on a copy of the document.

use super::query;
use crate::json::{Json, Limits, Pointer};
use crate::{Error, Result};

/// More operations than any client needs, few enough to bound the work.
const OPERATIONS_MAX: usize = 1_000;
/// Places all operations of one patch may touch together; a query can select many.
const TARGETS_MAX: usize = 10_000;

/// How `path` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    Pointers,
    Queries,
}

pub(super) fn apply(current: &Json, patch: &Json, paths: Paths) -> Result<Json> {
    let Some(operations) = patch.as_array() else {
        let message = format!("a JSON patch is an array of operations, not {}", patch.type_name());
        return Err(Error::invalid("patch-malformed", message));
    };
    if operations.len() > OPERATIONS_MAX {
        let message = format!("a patch has at most {OPERATIONS_MAX} operations; send several patches");
        return Err(Error::invalid("patch-malformed", message).with("operations", operations.len()));
    }
    let mut work = Work { document: current.clone(), copied: 0, targets: 0 };
    for (at, operation) in operations.iter().enumerate() {
        work.step(operation, paths).map_err(|error| error.with("operation", at))?;
    }
    Ok(work.document)
}

struct Work {
    document: Json,
    /// Bytes copied within the document so far: copies of copies double.
    copied: usize,
    targets: usize,
}

fn text<'a>(operation: &'a Json, name: &str) -> Result<&'a str> {
    operation.get(name).and_then(Json::as_str).ok_or_else(|| {
        let message = format!("an operation needs {name} as a string");
        Error::invalid("patch-malformed", message).with("field", name)
    })
}

fn value(operation: &Json) -> Result<&Json> {
    operation
        .get("value")
        .ok_or_else(|| Error::invalid("patch-malformed", "add, replace and test need a value").with("field", "value"))
}

fn absent(tokens: &[String]) -> Error {
    let path: String = tokens.iter().map(|token| format!("/{token}")).collect();
    let shown: String = path.chars().take(160).collect();
    Error::invalid("patch-target-absent", "there is nothing at this path; read the resource and correct the patch")
        .with("path", shown)
}

impl Work {
    fn step(&mut self, operation: &Json, paths: Paths) -> Result<()> {
        let op = text(operation, "op")?;
        let path = text(operation, "path")?;
        let ends = if op == "add" { query::End::Whole } else { query::End::Elements };
        let targets = match paths {
            Paths::Pointers => vec![Pointer::parse(path)?.tokens],
            Paths::Queries => query::resolve(&self.document, path, ends)?,
        };
        self.targets += targets.len();
        if self.targets > TARGETS_MAX {
            let message = format!("a patch touches at most {TARGETS_MAX} places; send several patches");
            return Err(Error::invalid("patch-malformed", message));
        }
        if targets.len() > 1 {
            self.copies(operation.get("value"), targets.len())?;
        }
        // From the last to the first, so that removing one element moves none of the others still to go.
        for target in targets.iter().rev() {
            self.one(op, operation, target, paths)?;
        }
        Ok(())
    }

    fn one(&mut self, op: &str, operation: &Json, target: &[String], paths: Paths) -> Result<()> {
        match op {
            "add" => self.add(target, value(operation)?.clone(), paths),
            "remove" => self.remove(target).map(drop),
            "replace" => self.replace(target, value(operation)?.clone()),
            "test" => self.test(target, value(operation)?),
            "move" => {
                let from = Pointer::parse(text(operation, "from")?)?.tokens;
                if target.len() > from.len() && target.starts_with(&from) {
                    let message = "a value cannot be moved into itself";
                    return Err(Error::invalid("patch-malformed", message).with("field", "from"));
                }
                let value = self.remove(&from)?;
                self.add(target, value, paths)
            }
            "copy" => {
                let from = Pointer::parse(text(operation, "from")?)?.tokens;
                let value = self.document.at(&from).ok_or_else(|| absent(&from))?.clone();
                self.copies(Some(&value), 1)?;
                self.add(target, value, paths)
            }
            _ => {
                let message = "op is one of add, remove, replace, move, copy, test";
                Err(Error::invalid("patch-malformed", message).with("field", "op"))
            }
        }
    }

    fn copies(&mut self, value: Option<&Json>, times: usize) -> Result<()> {
        self.copied += value.map_or(0, |value| value.to_bytes().len() * times);
        if self.copied > Limits::default().bytes {
            return Err(Error::invalid("json-size", "the patch copies more than a document may hold"));
        }
        Ok(())
    }

    fn add(&mut self, target: &[String], value: Json, paths: Paths) -> Result<()> {
        fits(target, &value)?;
        let Some((last, above)) = target.split_last() else {
            self.document = value;
            return Ok(());
        };
        // A query cannot say "-": adding to an array appends to it.
        if paths == Paths::Queries
            && let Some(Json::Array(items)) = self.document.at_mut(target)
            && value.as_array().is_none()
        {
            items.push(value);
            return Ok(());
        }
        match self.document.at_mut(above) {
            Some(Json::Array(items)) => {
                let at = if last == "-" { Some(items.len()) } else { crate::json::index(last) };
                let at = at.filter(|at| *at <= items.len()).ok_or_else(|| absent(target))?;
                items.insert(at, value);
            }
            Some(container @ Json::Object(_)) => container.set(last, value),
            _ => return Err(absent(target)),
        }
        Ok(())
    }

    fn remove(&mut self, target: &[String]) -> Result<Json> {
        let Some((last, above)) = target.split_last() else {
            return Err(Error::invalid("patch-malformed", "the whole document cannot be removed or moved by a patch"));
        };
        let removed = match self.document.at_mut(above) {
            Some(Json::Array(items)) => {
                crate::json::index(last).filter(|at| *at < items.len()).map(|at| items.remove(at))
            }
            Some(container) => container.remove(last),
            None => None,
        };
        removed.ok_or_else(|| absent(target))
    }

    fn replace(&mut self, target: &[String], value: Json) -> Result<()> {
        fits(target, &value)?;
        *self.document.at_mut(target).ok_or_else(|| absent(target))? = value;
        Ok(())
    }

    fn test(&self, target: &[String], value: &Json) -> Result<()> {
        let found = self.document.at(target).ok_or_else(|| absent(target))?;
        if found.same(value) {
            return Ok(());
        }
        // The values themselves may be confidential: they are not told.
        let message = "a test of the patch does not hold: the resource has another value there";
        let path: String = target.iter().map(|token| format!("/{token}")).collect();
        Err(Error::conflict("patch-test-failed", message).with("path", path))
    }
}

/// A value put at a path must not make the document deeper than one that could be read again.
fn fits(target: &[String], value: &Json) -> Result<()> {
    let limit = Limits::default().depth;
    if target.len() + depth(value) > limit {
        let message = format!("the changed document would be nested deeper than {limit} levels");
        return Err(Error::invalid("json-depth", message));
    }
    Ok(())
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.iter().map(|(_, member)| depth(member)).max().unwrap_or(0),
        _ => 0,
    }
}
