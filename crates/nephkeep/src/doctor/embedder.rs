//! What makes vectors of texts: a server is asked for one.

use super::Finding;
use crate::{embedder::Choice, settings::Settings};
use model::{Error, Result};

const CHECK: &str = "embedder";
const NEXT: &str = "embedder.next";
/// Tells nothing of anybody.
const WORD: &str = "handover";

pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut found = vec![one(CHECK, &settings.embedder).await];
    if let Some(next) = &settings.next_embedder {
        found.push(one(NEXT, next).await);
    }
    found
}

/// The record is served without vectors, so their absence is no failure.
async fn one(check: &'static str, choice: &Choice) -> Finding {
    match asked(choice).await {
        Ok(found) => Finding::ok(check, found),
        Err(error) => Finding::warn(check, error.to_string(), format!("nephkeep explain {}", error.code())),
    }
}

async fn asked(choice: &Choice) -> Result<String> {
    let embedder = choice.embedder()?;
    let described = embedder.described();
    if !embedder.is_kept() {
        return Ok(described);
    }
    let asked = tokio::task::spawn_blocking(move || embedder.question(WORD)).await;
    asked.map_err(|error| Error::bug("asking the embedder ended badly").caused_by(error))??;
    Ok(format!("{described} answers"))
}
