//! Which conditions of a list the clear columns answer (RECORD 15), and which need the documents themselves.

use jiff::Timestamp;
use model::{
    Kind,
    select::{Condition, Filter, Operator},
    tmf921::{is_clear_priority, is_clear_status},
};
use tokio_postgres::types::ToSql;

pub(crate) type Parameter = Box<dyn ToSql + Sync + Send>;

/// Conditions on columns, as SQL over `r`, and on `name`, which has a blind index.
#[derive(Debug, Default)]
pub(crate) struct Clear {
    conditions: Vec<Clause>,
    /// Alternatives; their digests are made under the tenant's key.
    pub names: Option<Vec<String>>,
}

#[derive(Debug)]
struct Clause {
    /// What stands before the parameter's number.
    head: &'static str,
    tail: &'static str,
    value: Value,
    /// Few rows by nature: goes first.
    narrow: bool,
}

#[derive(Debug)]
enum Value {
    Texts(Vec<String>),
    Flags(Vec<bool>),
    Times(Vec<i64>),
    Time(i64),
    Text(String),
}

/// Takes out of a filter what columns answer exactly. What they answer only roughly stays in it as well.
pub(crate) fn split(kind: Kind, mut filter: Filter) -> (Clear, Filter) {
    let mut clear = Clear::default();
    // Other kinds have no columns; their ids are the record's own, not a member of the document.
    if !matches!(kind, Kind::Intent | Kind::IntentSpecification | Kind::IntentReport) {
        return (clear, filter);
    }
    clear.names = filter.take("name", Operator::Eq).map(|condition| texts(&condition));
    for (path, head, narrow, known) in [
        ("id", "r.id = ANY(", true, any as fn(&str) -> bool),
        ("@type", "r.at_type = ANY(", false, any),
        ("lifecycleStatus", "r.lifecycle_status = ANY(", false, is_clear_status),
        ("priority", "r.priority = ANY(", false, is_clear_priority),
    ] {
        let read = |values: Vec<String>| values.iter().all(|value| known(value)).then_some(Value::Texts(values));
        if let Some(value) = take_if(&mut filter, path, read) {
            clear.conditions.push(Clause { head, tail: ")", value, narrow });
        }
    }
    let flags = |values: Vec<String>| {
        let flags: Option<_> = values.iter().map(|value| value.parse().ok()).collect();
        flags.map(Value::Flags)
    };
    if let Some(value) = take_if(&mut filter, "isBundle", flags) {
        clear.conditions.push(Clause { head: "r.is_bundle = ANY(", tail: ")", value, narrow: false });
    }
    dates(&mut filter, &mut clear);
    (clear, filter)
}

fn any(_: &str) -> bool {
    true
}

fn texts(condition: &Condition) -> Vec<String> {
    condition.values.iter().map(|wanted| wanted.text.clone()).collect()
}

/// Takes an equality out when `read` can use all of its values.
fn take_if(filter: &mut Filter, path: &str, read: impl FnOnce(Vec<String>) -> Option<Value>) -> Option<Value> {
    let found = filter.conditions.iter().find(|known| known.path == path && known.operator == Operator::Eq)?;
    let value = read(texts(found))?;
    filter.take(path, Operator::Eq);
    Some(value)
}

fn dates(filter: &mut Filter, clear: &mut Clear) {
    const HEADS: [(&str, [&str; 5]); 2] = [
        (
            "creationDate",
            [
                "r.creation_date > ",
                "r.creation_date >= ",
                "r.creation_date < ",
                "r.creation_date <= ",
                "r.creation_date = ANY(",
            ],
        ),
        (
            "lastUpdate",
            ["r.last_update > ", "r.last_update >= ", "r.last_update < ", "r.last_update <= ", "r.last_update = ANY("],
        ),
    ];
    for (path, [gt, gte, lt, lte, eq]) in HEADS {
        for (operator, head) in [(Operator::Gt, gt), (Operator::Gte, gte), (Operator::Lt, lt), (Operator::Lte, lte)] {
            let Some(times) = times(filter, path, operator) else { continue };
            // Any of the values will do: the most generous one decides.
            let most = match operator {
                Operator::Gt | Operator::Gte => times.into_iter().min(),
                _ => times.into_iter().max(),
            };
            if let Some(time) = most {
                filter.take(path, operator);
                clear.conditions.push(Clause { head, tail: "", value: Value::Time(time), narrow: false });
            }
        }
        // Equality is that of the text; equal texts are equal moments, so the column narrows and the text decides.
        if let Some(times) = times(filter, path, Operator::Eq) {
            clear.conditions.push(Clause { head: eq, tail: ")", value: Value::Times(times), narrow: false });
        }
    }
}

fn times(filter: &Filter, path: &str, operator: Operator) -> Option<Vec<i64>> {
    let found = filter.conditions.iter().find(|known| known.path == path && known.operator == operator)?;
    found.values.iter().map(|wanted| wanted.text.parse().ok().map(Timestamp::as_microsecond)).collect()
}

impl Clear {
    /// Only ids that begin so.
    pub(crate) fn beginning(mut self, prefix: Option<String>) -> Self {
        let clause =
            |prefix| Clause { head: "starts_with(r.id, ", tail: ")", value: Value::Text(prefix), narrow: false };
        self.conditions.extend(prefix.map(clause));
        self
    }

    /// Whether an equality on `id` or `name` leaves few rows: those are taken first, whatever the order.
    pub(crate) fn is_narrow(&self) -> bool {
        self.names.is_some() || self.conditions.iter().any(|clause| clause.narrow)
    }

    /// ` AND …` for each condition on a column, appending its parameters.
    pub(crate) fn render(self, parameters: &mut Vec<Parameter>) -> String {
        let mut text = String::new();
        for Clause { head, tail, value, .. } in self.conditions {
            parameters.push(match value {
                Value::Texts(values) => Box::new(values),
                Value::Flags(values) => Box::new(values),
                Value::Times(values) => Box::new(values),
                Value::Time(value) => Box::new(value),
                Value::Text(value) => Box::new(value),
            });
            text.push_str(&format!(" AND {head}${}{tail}", parameters.len()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rendered(kind: Kind, query: &str) -> (String, Vec<String>, Option<Vec<String>>) {
        let (clear, rest) = split(kind, Filter::parse(query, &[]).unwrap());
        let (names, mut parameters) = (clear.names.clone(), Vec::new());
        let text = clear.render(&mut parameters);
        assert_eq!(text.matches('$').count(), parameters.len());
        (text, rest.conditions.into_iter().map(|condition| condition.path).collect(), names)
    }

    #[test]
    fn clear_columns_answer_what_they_hold() {
        let (text, rest, names) = rendered(
            Kind::Intent,
            "@type=Intent&lifecycleStatus=active,Failed&priority=1&isBundle=true&id=a,b&creationDate.gt=2026-01-01T00:00:00Z&name=x",
        );
        assert_eq!(
            text,
            " AND r.id = ANY($1) AND r.at_type = ANY($2) AND r.lifecycle_status = ANY($3) AND r.priority = ANY($4) \
             AND r.is_bundle = ANY($5) AND r.creation_date > $6"
        );
        assert!(rest.is_empty());
        assert_eq!(names, Some(vec!["x".to_owned()]));
    }

    #[test]
    fn everything_else_stays_for_the_documents() {
        for query in [
            "lifecycleStatus=active,for%20Ann",
            "priority=for%20Ann",
            "isBundle=maybe",
            "name.ne=x",
            "creationDate.lt=yesterday",
            "context=c",
            "id.ne=1",
        ] {
            let (text, rest, names) = rendered(Kind::Intent, query);
            assert_eq!((text.as_str(), rest.len(), names), ("", 1, None), "{query}");
        }
        let (text, rest, _) = rendered(Kind::Intent, "creationDate=2026-01-01T00:00:00Z");
        assert_eq!((text.as_str(), rest.len()), (" AND r.creation_date = ANY($1)", 1));
        let (text, rest, _) = rendered(Kind::Configuration, "id=a&name=b");
        assert_eq!((text.as_str(), rest.len()), ("", 2));
    }
}
