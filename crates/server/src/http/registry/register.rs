//! Registering: the same schema is the same id, in every subject; a new one must follow those before it.

use super::{
    Answer, answer,
    compatibility::earlier,
    store::{Held, Known, Store, contended, dangling},
};
use crate::{
    http::call::{At, Call},
    identity::allow,
    state::App,
};
use axum::extract::State;
use model::{Action, Error, Json, Result, json};
use registry::{Form, Mode, Reference, Referenced, Schema, Versions};

/// Races that one registration may lose before the caller is asked to come again.
const TRIES: usize = 16;

/// A body that brings a schema.
#[derive(Debug)]
pub struct Request {
    pub form: Form,
    pub text: String,
    pub references: Vec<Reference>,
    /// Only in mode IMPORT.
    pub id: Option<u32>,
    pub version: Option<u32>,
}

impl Request {
    pub fn read(body: &[u8]) -> Result<Self> {
        let body = json::parse(body)?;
        let invalid = |rule: &str| Error::invalid("schema-invalid", rule.to_owned());
        let given = |json: &'_ Json, name: &str| json.get(name).filter(|value| !value.is_null()).cloned();
        let text = |json: &Json, name: &'static str| match given(json, name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid("a string is expected here").with("field", name)),
        };
        let number = |json: &Json, name: &'static str| match given(json, name) {
            // -1 is how clients say "none".
            None => Ok(None),
            Some(value) if value.as_i64() == Some(-1) => Ok(None),
            Some(value) => {
                let number = value.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                number.map(Some).ok_or_else(|| invalid("a number from 1 is expected here").with("field", name))
            }
        };
        for unsupported in ["metadata", "ruleSet"] {
            if given(&body, unsupported).is_some() {
                return Err(invalid("this registry keeps no metadata and no rules").with("field", unsupported));
            }
        }
        let missing =
            |name: &'static str| move || Error::invalid("schema-invalid", "add this attribute").with("field", name);
        let reference = |json: &Json| {
            Ok(Reference {
                name: text(json, "name")?.ok_or_else(missing("references.name"))?,
                subject: text(json, "subject")?.ok_or_else(missing("references.subject"))?,
                version: number(json, "version")?.ok_or_else(missing("references.version"))?,
            })
        };
        let references = given(&body, "references").unwrap_or_else(|| Vec::<Json>::new().into());
        let references = references.as_array().ok_or_else(|| invalid("references is a list"))?;
        Ok(Self {
            form: text(&body, "schemaType")?.map_or(Ok(Form::Avro), |form| form.parse())?,
            text: text(&body, "schema")?.ok_or_else(missing("schema"))?,
            references: references.iter().map(reference).collect::<Result<_>>()?,
            id: number(&body, "id")?,
            version: number(&body, "version")?,
        })
    }

    /// With what it refers to.
    pub async fn schema(&self, store: &Store<'_>, normalize: bool) -> Result<(Schema, Vec<Referenced>)> {
        let needed = store.needed(self.form, &self.references).await?;
        let schema = Schema::parse(self.form, &self.text, self.references.clone(), &needed, normalize)?;
        Ok((schema, needed))
    }
}

pub fn flag(call: &mut Call, name: &'static str) -> Result<bool> {
    match call.query.take(name)?.map(|word| word.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::invalid("parameter-malformed", "true or false is expected").with("parameter", name)),
    }
}

pub async fn register(State(app): State<App>, At(subject): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    let normalize = flag(&mut call, "normalize")?;
    let request = Request::read(&call.body)?;
    let store = Store::new(&app, &call.access);
    let (id, version) = registered(&store, &subject, &request, normalize).await?;
    Ok(answer(&Json::object().with("id", u64::from(id)).with("version", u64::from(version))))
}

/// The id and the version under which the schema stands now.
pub async fn registered(store: &Store<'_>, subject: &str, request: &Request, normalize: bool) -> Result<(u32, u32)> {
    for _ in 0..TRIES {
        let schema = request.schema(store, normalize).await?;
        if let Some(there) = publish(store, subject, schema, request).await? {
            return Ok(there);
        }
    }
    Err(contended())
}

/// One try: the id and the version, or `None` when somebody else was faster.
async fn publish(
    store: &Store<'_>,
    name: &str,
    (schema, needed): (Schema, Vec<Referenced>),
    request: &Request,
) -> Result<Option<(u32, u32)>> {
    let mut subject = store.subject(name).await?;
    let known = store.identified(&schema.identity()).await?;
    let there = subject.value.versions(Versions::Active).find(|one| Some(one.id) == known);
    if let Some(there) = there {
        return Ok(Some((there.id, there.version)));
    }
    let mut head = store.head().await?;
    let mode = subject.value.mode.or(head.value.mode).unwrap_or_default();
    check_mode(mode, request)?;
    if mode != Mode::Import {
        let level = subject.value.level.or(head.value.level).unwrap_or_default();
        let before = earlier(store, subject.value.before(level)).await?;
        let why = schema.follows(&needed, &before, level)?;
        if !why.is_empty() {
            let told = format!("the schema is incompatible with an earlier one of this subject: {}", why.join("; "));
            return Err(Error::conflict("schema-incompatible", told).with("subject", name).with("level", level));
        }
    }
    let mut writes = Vec::new();
    let mut used = match (known, request.id) {
        (Some(id), Some(wanted)) if id != wanted => return Err(taken("the schema has another id", wanted)),
        (Some(id), _) => store.schema(id).await?,
        (None, wanted) => {
            let id = wanted.unwrap_or(head.value.next);
            if wanted.is_some() && store.known(id).await?.is_some() {
                return Err(taken("another schema has this id", id));
            }
            head.value.next = head.value.next.max(id.saturating_add(1));
            writes.push(store.head_write(&head)?);
            Held { value: Known { id, schema, uses: Vec::new() }, version: None }
        }
    };
    let id = used.value.id;
    let version = subject.value.publish(id, request.version)?;
    used.value.uses.push((name.to_owned(), version));
    if used.version.is_none() {
        writes.push(store.identity_write(&used.value)?);
        writes.extend(refer(store, name, &mut subject, &used.value).await?);
    }
    writes.push(store.schema_write(&used)?);
    writes.extend(store.subject_write(name, &subject)?);
    Ok(store.commit(writes).await?.then_some((id, version)))
}

/// The versions that a new schema refers to know it from now on.
async fn refer(
    store: &Store<'_>,
    own: &str,
    subject: &mut Held<registry::Subject>,
    new: &Known,
) -> Result<Vec<ledger::Write>> {
    let mut others: Vec<(String, Held<registry::Subject>)> = Vec::new();
    for reference in &new.schema.references {
        let target = if reference.subject == own {
            &mut *subject
        } else {
            if !others.iter().any(|(name, _)| *name == reference.subject) {
                others.push((reference.subject.clone(), store.subject(&reference.subject).await?));
            }
            let found = others.iter_mut().find(|(name, _)| *name == reference.subject);
            let Some((_, held)) = found else { continue };
            held
        };
        let version = target.value.get_mut(reference.version).ok_or_else(|| dangling(reference))?;
        if !version.referenced_by.contains(&new.id) {
            version.referenced_by.push(new.id);
        }
    }
    let mut writes = Vec::new();
    for (name, held) in &others {
        writes.extend(store.subject_write(name, held)?);
    }
    Ok(writes)
}

fn taken(why: &str, id: u32) -> Error {
    Error::refused("schema-mode-forbids", format!("{why}: an id means one schema for ever")).with("id", id)
}

fn check_mode(mode: Mode, request: &Request) -> Result<()> {
    let forbids = |why: &str| Err(Error::refused("schema-mode-forbids", why.to_owned()).with("mode", mode));
    match mode {
        Mode::ReadOnly => forbids("the subject is read-only; set its mode first"),
        Mode::ReadWrite if request.id.is_some() || request.version.is_some() => {
            forbids("ids and versions are given by the registry, unless its mode is IMPORT")
        }
        Mode::Import if request.id.is_none() => forbids("in mode IMPORT a schema brings its id"),
        Mode::ReadWrite | Mode::Import => Ok(()),
    }
}
