//! Knowledge documents: parted into chunks at intake, stored through the record, found by `search`.

use super::{answer, blocking, positioned, shapes, version, wrong};
use crate::{
    http::{
        body,
        call::{At, Call},
        headers,
        tmf921::not_found,
    },
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::{StatusCode, header};
use ledger::{Content, Group, ListQuery, Op, Write};
use model::{
    Action, Class, Error, Json, Kind, ResourceKey, Result,
    knowledge::{Chunk, Document, HEADING_MAX_BYTES},
};
use texts::{Block, CHUNKER, Format, Section, chunks_of, sections};

/// Of a body that stores a document.
const MEMBERS: [&str; 7] = ["source", "path", "title", "class", "text", "format", "sections"];

fn text<'b>(body: &'b Json, name: &'static str) -> Result<Option<&'b str>> {
    match body.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a string is expected here")),
    }
}

fn needed<'b>(body: &'b Json, name: &'static str) -> Result<&'b str> {
    text(body, name)?.ok_or_else(|| Error::invalid("attribute-missing", "add this attribute").with("field", name))
}

/// A body with `text` and `format`, or with `sections` that its author has parted already.
fn document(body: &Json) -> Result<Document> {
    let (source, path) = (needed(body, "source")?, needed(body, "path")?);
    let (found, parts) = match body.get("sections") {
        Some(given) => {
            let parted = "a document has sections, or text with its format";
            let both = ["text", "format"].into_iter().find(|name| body.get(name).is_some());
            both.map_or(Ok(()), |name| Err(wrong(name, parted)))?;
            (None, given_sections(given)?)
        }
        None => sections(text(body, "format")?.unwrap_or("markdown").parse::<Format>()?, needed(body, "text")?)?,
    };
    let title = text(body, "title")?.map(str::to_owned).or(found).unwrap_or_else(|| path.to_owned());
    let class = text(body, "class")?.map_or(Ok(Class::Internal), str::parse::<Class>);
    Ok(Document {
        source: source.to_owned(),
        path: path.to_owned(),
        title,
        chunker: CHUNKER.to_owned(),
        class: class.map_err(|error| error.with("field", "class"))?,
        chunks: chunks_of(&parts)?.into_iter().map(whole).collect(),
    })
}

/// Text columns of PostgreSQL never see a chunk, but U+0000 helps nobody.
fn whole(chunk: Chunk) -> Chunk {
    Chunk { heading: chunk.heading.replace('\0', ""), text: chunk.text.replace('\0', "") }
}

fn given_sections(given: &Json) -> Result<Vec<Section>> {
    let rule = "sections is a list of objects with heading and text";
    let list = given.as_array().ok_or_else(|| wrong("sections", rule))?;
    let section = |(at, item): (usize, &Json)| {
        body::only(item, &["heading", "text"]).map_err(|error| error.with("member", format!("sections[{at}]")))?;
        let field = |name| item.get(name).and_then(Json::as_str);
        match (field("heading"), field("text")) {
            (Some(heading), Some(_)) if heading.len() > HEADING_MAX_BYTES => {
                Err(wrong(format!("sections[{at}].heading"), "a heading has at most 1024 bytes"))
            }
            (Some(heading), Some(text)) => {
                let blocks = text.split("\n\n").map(Block::judged).collect();
                Ok(Section { heading: heading.to_owned(), blocks })
            }
            _ => Err(wrong(format!("sections[{at}]"), rule)),
        }
    };
    list.iter().enumerate().map(section).collect()
}

/// Stores a document of the knowledge base. The same source and path is the same document: unchanged, nothing is
/// written (200); changed, it is a new version (200).
#[utoipa::path(post, path = "/api/v1/knowledge/documents", tag = "knowledge", security(("token" = [])),
    request_body = Object,
    responses((status = 201, body = Object), (status = 200, body = Object), (status = 400, body = shapes::Problem)))]
pub async fn put(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    let (body, tenant) = (body::object(&mut call, &MEMBERS)?, call.access.tenant.clone());
    let parted = move || {
        let document = document(&body)?;
        let prepared = document.prepared(&tenant)?;
        Ok((document, prepared))
    };
    let (document, prepared) = blocking(parted).await?;
    let key = ResourceKey::new(&call.access.tenant, Kind::KnowledgeDocument, &document.id())?;
    let _lane = app.lane(&key).await;
    let chunks = document.chunks.len() as u64;
    let told = |version: u64, state: &str| {
        Json::object().with("id", &*key.id).with("version", version).with("state", state).with("chunks", chunks)
    };
    if let Some(there) = app.ledger.read(&call.access, &key).await?
        && there.class == prepared.class
        && there.document == Content::Clear(prepared.document.clone())
    {
        return Ok(positioned(StatusCode::OK, &told(there.version, "unchanged"), there.position));
    }
    let writes = vec![Write { key: key.clone(), op: Op::Put, document: Some(prepared) }];
    let receipt =
        app.ledger.write(&call.access, Group { writes, idempotency: call.idempotency()?, ..Group::default() }).await?;
    let Some(written) = receipt.writes.first() else { return Err(Error::bug("a receipt without its write").into()) };
    let created = written.version == 1;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let state = if created { "created" } else { "changed" };
    let mut response = positioned(status, &told(written.version, state), written.position);
    headers::put(response.headers_mut(), header::LOCATION, &format!("/api/v1/knowledge/documents/{}", key.id));
    Ok(response)
}

/// A document with its chunks.
#[utoipa::path(get, path = "/api/v1/knowledge/documents/{id}", tag = "knowledge", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = shapes::ResourceVersion), (status = 404, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    call.query.finish("none")?;
    let key = ResourceKey::new(&call.access.tenant, Kind::KnowledgeDocument, &id)?;
    let found = app.ledger.read(&call.access, &key).await?.ok_or_else(|| not_found(&key))?;
    Ok(positioned(StatusCode::OK, &version(&found)?, found.position))
}

/// Documents without their chunks, in the order of their first import.
#[utoipa::path(get, path = "/api/v1/knowledge/documents", tag = "knowledge", security(("token" = [])),
    params(("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    let limit = call.query.take_number("limit")?.unwrap_or(app.limits.page_default).clamp(1, app.limits.page);
    let after = call.query.take("after")?;
    std::mem::take(&mut call.query).finish("limit, after")?;
    let query = ListQuery { after, limit, ..ListQuery::default() };
    let page = app.ledger.list(&call.access, Kind::KnowledgeDocument, &query).await?;
    let mut documents = Vec::with_capacity(page.items.len());
    for resource in &page.items {
        let mut shown = Json::object().with("id", &*resource.key.id).with("version", resource.version);
        shown = match &resource.document {
            Content::Clear(bytes) => summary(shown, bytes),
            Content::Erased | Content::Deleted => shown,
        };
        documents.push(shown);
    }
    let mut body = Json::object().with("documents", documents).with("total", page.total);
    if let Some(next) = page.next {
        body.set("next", next);
    }
    Ok(positioned(StatusCode::OK, &body, page.position))
}

/// A damaged document is named and hides no other.
fn summary(shown: Json, stored: &[u8]) -> Json {
    match Document::read(stored) {
        Ok(document) => shown
            .with("source", document.source)
            .with("path", document.path)
            .with("title", document.title)
            .with("class", document.class.as_str())
            .with("chunks", document.chunks.len() as u64),
        Err(error) => shown.with("unreadable", error.code()),
    }
}

/// Deletes a document; searches stop finding it at once, because the record is asked before anything is shown.
#[utoipa::path(delete, path = "/api/v1/knowledge/documents/{id}", tag = "knowledge", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = shapes::Problem)))]
pub async fn delete(State(app): State<App>, At(id): At<String>, mut call: Call) -> Answer {
    std::mem::take(&mut call.query).finish("none")?;
    let key = ResourceKey::new(&call.access.tenant, Kind::KnowledgeDocument, &id)?;
    let writes = vec![Write { key, op: Op::Delete { expected: None }, document: None }];
    let receipt =
        app.ledger.write(&call.access, Group { writes, idempotency: call.idempotency()?, ..Group::default() }).await?;
    let body = Json::object().with("id", id).with("state", "deleted");
    let mut response = answer(StatusCode::OK, &body);
    headers::put(response.headers_mut(), headers::LEDGER_POSITION, &receipt.position.to_string());
    Ok(response)
}
