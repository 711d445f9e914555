//! `fields=name,expression.iri`: what of a resource is shown.

use crate::json::Json;
use crate::{Error, Result};

/// What stands in every answer, and in every object a path goes through.
const IDENTITY: [&str; 3] = ["@type", "id", "href"];

const FIELDS_MAX: usize = 100;

/// A tree of names; a leaf shows everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// `None` shows everything.
    shown: Option<Vec<Shown>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    name: String,
    /// Empty shows the whole member.
    below: Vec<Shown>,
}

impl Fields {
    /// Reads the decoded value of `fields`; empty shows everything, `none` only the identity.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.split(',').count() > FIELDS_MAX {
            let message = format!("fields names at most {FIELDS_MAX} attributes; leave it out to get all");
            return Err(Error::invalid("fields-malformed", message));
        }
        let mut shown = Vec::new();
        for path in text.split(',').map(str::trim).filter(|path| *path != "none") {
            let names: Vec<&str> = path.split('.').collect();
            if names.iter().any(|name| name.is_empty()) || names.len() > 64 {
                let message = "fields is a list of attribute names such as name,expression.iri";
                return Err(Error::invalid("fields-malformed", message)
                    .with("field", path.chars().take(80).collect::<String>()));
            }
            add(&mut shown, &names);
        }
        Ok(Self { shown: Some(shown) })
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.shown.is_none()
    }

    #[must_use]
    pub fn project(&self, document: &Json) -> Json {
        self.shown.as_ref().map_or_else(|| document.clone(), |shown| project(document, shown))
    }
}

fn add(shown: &mut Vec<Shown>, names: &[&str]) {
    let Some((first, rest)) = names.split_first() else { return };
    match shown.iter_mut().find(|known| known.name == *first) {
        // Shown whole already.
        Some(known) if known.below.is_empty() => {}
        Some(known) if rest.is_empty() => known.below.clear(),
        Some(known) => add(&mut known.below, rest),
        None => {
            let mut new = Shown { name: (*first).to_owned(), below: Vec::new() };
            add(&mut new.below, rest);
            shown.push(new);
        }
    }
}

fn project(value: &Json, shown: &[Shown]) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.iter().map(|item| project(item, shown)).collect()),
        Json::Object(members) => {
            let kept =
                members.iter().filter_map(|(name, member)| match shown.iter().find(|shown| shown.name == *name) {
                    Some(Shown { below, .. }) if !below.is_empty() => Some((name.clone(), project(member, below))),
                    Some(_) => Some((name.clone(), member.clone())),
                    None => IDENTITY.contains(&name.as_str()).then(|| (name.clone(), member.clone())),
                });
            Json::Object(kept.collect())
        }
        other => other.clone(),
    }
}
