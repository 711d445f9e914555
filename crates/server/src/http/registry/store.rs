//! The registry's documents in the record: one per subject, per schema id, per identity of a schema, and a head.
//!
//! What belongs together is written in one transaction over the versions that were read; who loses the race reads again.

use crate::state::App;
use ledger::{Content, Group, ListQuery, Op, Write};
use model::{
    Access, Class, Columns, Error, Json, Kind, Prepared, ResourceKey, Result, Version, canonical::canonicalise, json,
    resource,
};
use registry::{Form, Level, Mode, Reference, Referenced, Schema, Subject, Versions};

/// Schemas that one schema needs, direct and indirect.
const NEEDED_MAX: usize = 200;
/// A subject's name and `subject/` are a resource's id.
const SUBJECT_MAX_BYTES: usize = resource::NAME_MAX_BYTES - "subject/".len();

pub struct Store<'c> {
    pub app: &'c App,
    pub access: &'c Access,
}

/// A document with the version it was read at; `None`: it was not there.
pub struct Held<T> {
    pub value: T,
    pub version: Option<Version>,
}

/// What holds for the tenant's registry as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The next id.
    pub next: u32,
    pub level: Option<Level>,
    pub mode: Option<Mode>,
}

/// A schema under its id, and which versions of which subjects it is.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: u32,
    pub schema: Schema,
    pub uses: Vec<(String, u32)>,
}

impl<'c> Store<'c> {
    pub fn new(app: &'c App, access: &'c Access) -> Self {
        Self { app, access }
    }

    fn key(&self, id: &str) -> Result<ResourceKey> {
        ResourceKey::new(&self.access.tenant, Kind::Schema, id)
    }

    async fn read(&self, id: &str) -> Result<Option<(Json, Version)>> {
        let Some(found) = self.app.ledger.read(self.access, &self.key(id)?).await? else { return Ok(None) };
        match &found.document {
            Content::Clear(bytes) => Ok(Some((json::stored(bytes)?, found.version))),
            Content::Erased | Content::Deleted => Ok(None),
        }
    }

    pub async fn subject(&self, name: &str) -> Result<Held<Subject>> {
        check_subject(name)?;
        Ok(match self.read(&subject_id(name)).await? {
            Some((document, version)) => Held { value: Subject::read(&document)?, version: Some(version) },
            None => Held { value: Subject::default(), version: None },
        })
    }

    /// The same, of a subject that has versions.
    pub async fn existing(&self, name: &str, which: Versions) -> Result<Held<Subject>> {
        let found = self.subject(name).await?;
        if found.value.versions(which).next().is_none() {
            let how = "there is no such subject; list them at subjects (deleted ones with deleted=true)";
            return Err(Error::not_found("schema-subject-unknown", how).with("subject", name));
        }
        Ok(found)
    }

    pub async fn head(&self) -> Result<Held<Head>> {
        let Some((document, version)) = self.read("head").await? else {
            return Ok(Held { value: Head { next: 1, level: None, mode: None }, version: None });
        };
        let next = document.get("next").and_then(Json::as_i64).and_then(|next| u32::try_from(next).ok());
        let word = |name: &str| document.get(name).and_then(Json::as_str);
        let value = Head {
            next: next.ok_or_else(|| corrupt("next"))?,
            level: word("level").map(str::parse).transpose()?,
            mode: word("mode").map(str::parse).transpose()?,
        };
        Ok(Held { value, version: Some(version) })
    }

    pub async fn schema(&self, id: u32) -> Result<Held<Known>> {
        let how = "no schema has this id; ids are given at registration";
        self.known(id).await?.ok_or_else(|| Error::not_found("schema-unknown", how).with("id", id))
    }

    pub async fn known(&self, id: u32) -> Result<Option<Held<Known>>> {
        let Some((document, version)) = self.read(&schema_id(id)).await? else { return Ok(None) };
        Ok(Some(Held { value: Known::read(id, &document)?, version: Some(version) }))
    }

    /// The id of a schema that is known already.
    pub async fn identified(&self, identity: &str) -> Result<Option<u32>> {
        let Some((document, _)) = self.read(&identity_id(identity)).await? else { return Ok(None) };
        let id = document.get("id").and_then(Json::as_i64).and_then(|id| u32::try_from(id).ok());
        id.map(Some).ok_or_else(|| corrupt("id"))
    }

    /// What a list of references leads to; of each schema, what it needs comes before it. Avro knows a type by its own
    /// name, the others by the reference's.
    pub async fn needed(&self, form: Form, references: &[Reference]) -> Result<Vec<Referenced>> {
        let mut found: Vec<(String, u32, Referenced)> = Vec::new();
        // With its text: what it needs is there already.
        let mut open: Vec<(Reference, Option<String>)> =
            references.iter().rev().map(|one| (one.clone(), None)).collect();
        let mut steps = 0_usize;
        while let Some((reference, text)) = open.pop() {
            steps += 1;
            if steps > NEEDED_MAX * 4 || found.len() >= NEEDED_MAX {
                let rule = format!("a schema needs at most {NEEDED_MAX} others, and none that needs it");
                return Err(Error::invalid("schema-invalid", rule));
            }
            let Reference { name, subject, version } = &reference;
            let there = |(found, at, one): &(String, u32, Referenced)| {
                (found, at) == (subject, version) && (form == Form::Avro || one.name == *name)
            };
            if found.iter().any(there) {
                continue;
            }
            let text = match text {
                Some(text) => text,
                None => {
                    let schema = self.referenced(&reference).await?.schema;
                    if !schema.references.is_empty() {
                        open.push((reference, Some(schema.text)));
                        open.extend(schema.references.into_iter().rev().map(|one| (one, None)));
                        continue;
                    }
                    schema.text
                }
            };
            found.push((reference.subject, reference.version, Referenced { name: reference.name, text }));
        }
        Ok(found.into_iter().map(|(_, _, one)| one).collect())
    }

    async fn referenced(&self, reference: &Reference) -> Result<Known> {
        let subject = self.subject(&reference.subject).await?.value;
        let version = subject.versions(Versions::WithDeleted).find(|one| one.version == reference.version);
        Ok(self.schema(version.ok_or_else(|| dangling(reference))?.id).await?.value)
    }

    /// Writes all or nothing. `false`: somebody was faster, read again.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<bool> {
        match self.app.ledger.write(self.access, Group { writes, ..Group::default() }).await {
            Ok(_) => Ok(true),
            // Deleted meanwhile is changed meanwhile.
            Err(error) if matches!(error.code(), "version-conflict" | "already-exists" | "not-found") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The same for what is not tried again by itself.
    pub async fn settle(&self, writes: Vec<Write>) -> Result<()> {
        if writes.is_empty() || self.commit(writes).await? { Ok(()) } else { Err(contended()) }
    }

    /// Whether nothing is known of any subject.
    pub async fn is_empty(&self) -> Result<bool> {
        let query = ListQuery { id_prefix: Some(subject_id("")), limit: 1, ..ListQuery::default() };
        Ok(self.app.ledger.list(self.access, Kind::Schema, &query).await?.items.is_empty())
    }

    fn write(&self, id: &str, document: &Json, held: Option<Version>) -> Result<Write> {
        let key = self.key(id)?;
        let prepared = Prepared {
            document: canonicalise(document),
            class: Class::Internal,
            subject: model::Subject::of_tenant(&key.tenant),
            columns: Columns::default(),
        };
        let op = held.map_or(Op::Create, |expected| Op::Replace { expected });
        Ok(Write { key, op, document: Some(prepared) })
    }

    /// A subject's new state; one of which nothing is known goes.
    pub fn subject_write(&self, name: &str, held: &Held<Subject>) -> Result<Option<Write>> {
        let id = subject_id(name);
        match (held.value.is_blank(), held.version) {
            (true, None) => Ok(None),
            (true, Some(expected)) => self.gone(&id, expected).map(Some),
            (false, version) => self.write(&id, &held.value.document(), version).map(Some),
        }
    }

    pub fn head_write(&self, held: &Held<Head>) -> Result<Write> {
        let mut document = Json::object().with("next", u64::from(held.value.next));
        let words = [("level", held.value.level.map(Level::as_str)), ("mode", held.value.mode.map(Mode::as_str))];
        for (name, word) in words {
            if let Some(word) = word {
                document.set(name, word);
            }
        }
        self.write("head", &document, held.version)
    }

    pub fn schema_write(&self, held: &Held<Known>) -> Result<Write> {
        self.write(&schema_id(held.value.id), &held.value.document(), held.version)
    }

    pub fn identity_write(&self, known: &Known) -> Result<Write> {
        let document = Json::object().with("id", u64::from(known.id));
        self.write(&identity_id(&known.schema.identity()), &document, None)
    }

    /// A schema that no version uses any more: its id and its identity go.
    pub fn forget(&self, held: &Held<Known>) -> Result<Vec<Write>> {
        let identity = self.key(&identity_id(&held.value.schema.identity()))?;
        let mut writes = vec![Write { key: identity, op: Op::Delete { expected: None }, document: None }];
        if let Some(expected) = held.version {
            writes.push(self.gone(&schema_id(held.value.id), expected)?);
        }
        Ok(writes)
    }

    fn gone(&self, id: &str, expected: Version) -> Result<Write> {
        Ok(Write { key: self.key(id)?, op: Op::Delete { expected: Some(expected) }, document: None })
    }
}

fn subject_id(name: &str) -> String {
    format!("subject/{name}")
}

fn schema_id(id: u32) -> String {
    format!("id/{id:010}")
}

fn identity_id(identity: &str) -> String {
    format!("identity/{identity}")
}

/// A reference to what is not there, or no longer.
pub fn dangling(reference: &Reference) -> Error {
    Error::invalid("schema-invalid", "a reference names a subject and a version that are registered")
        .with("name", &reference.name)
        .with("subject", &reference.subject)
        .with("version", reference.version)
}

pub fn contended() -> Error {
    Error::retry("schema-contended", "others change the registry at the same time; send this again")
}

fn corrupt(field: &'static str) -> Error {
    Error::corrupt("schema-corrupt", "a stored document of the schema registry is not whole").with("field", field)
}

fn check_subject(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > SUBJECT_MAX_BYTES || name.chars().any(char::is_control) {
        let rule = format!("a subject has 1 to {SUBJECT_MAX_BYTES} bytes without control characters");
        return Err(Error::invalid("schema-subject-malformed", rule));
    }
    Ok(())
}

impl Known {
    fn read(id: u32, document: &Json) -> Result<Self> {
        let text = |json: &Json, name: &'static str| {
            json.get(name).and_then(Json::as_str).map(str::to_owned).ok_or_else(|| corrupt(name))
        };
        let number = |json: &Json, name: &'static str| {
            json.get(name).and_then(Json::as_i64).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| corrupt(name))
        };
        let list = |name: &str| document.get(name).and_then(Json::as_array).unwrap_or_default();
        let reference = |json: &Json| {
            Ok(Reference {
                name: text(json, "name")?,
                subject: text(json, "subject")?,
                version: number(json, "version")?,
            })
        };
        let schema = Schema {
            form: text(document, "schemaType")?.parse::<Form>()?,
            text: text(document, "schema")?,
            references: list("references").iter().map(reference).collect::<Result<_>>()?,
        };
        let used = |json: &Json| Ok((text(json, "subject")?, number(json, "version")?));
        Ok(Self { id, schema, uses: list("uses").iter().map(used).collect::<Result<_>>()? })
    }

    fn document(&self) -> Json {
        let used = |(subject, version): &(String, u32)| {
            Json::object().with("subject", subject.as_str()).with("version", u64::from(*version))
        };
        Json::object()
            .with("schemaType", self.schema.form.as_str())
            .with("schema", self.schema.text.as_str())
            .with("references", references(&self.schema))
            .with("uses", self.uses.iter().map(used).collect::<Vec<_>>())
    }

    /// As answers show it: Avro is the form that is not named, and no references are not listed.
    #[must_use]
    pub fn shown(&self, into: Json) -> Json {
        let mut shown = into.with("schema", self.schema.text.as_str());
        if self.schema.form != Form::Avro {
            shown.set("schemaType", self.schema.form.as_str());
        }
        if !self.schema.references.is_empty() {
            shown.set("references", references(&self.schema));
        }
        shown
    }
}

fn references(schema: &Schema) -> Vec<Json> {
    let reference = |one: &Reference| {
        Json::object()
            .with("name", one.name.as_str())
            .with("subject", one.subject.as_str())
            .with("version", u64::from(one.version))
    };
    schema.references.iter().map(reference).collect()
}
