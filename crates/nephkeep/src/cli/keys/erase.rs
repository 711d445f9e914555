//! `keys destroy-subject`: an erasure, which cannot be undone.

use super::changed;
use crate::{
    cli::{Global, confirm_incarnation, status::cell},
    client::Call,
    exit::Outcome,
    output::{self, Report},
    routes,
};
use clap::Args;
use reqwest::Method;
use serde_json::json;

/// Destroy the keys of a customer: its documents become unreadable for good, in every copy and backup
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys destroy-subject customer-17 --dry-run\n  \
    nephkeep keys destroy-subject customer-17 --incarnation 1-9f86d081884c7d65\n\n\
    This cannot be undone. The incarnation is shown by `nephkeep status`.")]
pub struct DestroySubject {
    /// The customer, as documents name it
    customer: String,
    /// The record's incarnation, as `nephkeep status` shows it: says that you mean this one
    #[arg(long, value_name = "ID")]
    incarnation: Option<String>,
    /// Show what would be destroyed
    #[arg(long)]
    dry_run: bool,
}

pub async fn destroy_subject(global: &Global, verb: &DestroySubject) -> Outcome {
    if verb.dry_run {
        let look = Call::get(routes::ERASURES).query("customer", &verb.customer);
        let found = global.client()?.send(look).await?.value()?;
        output::note(
            "dry run: this key would be destroyed and these documents unreadable for good; nothing was changed",
        );
        let facts = vec![("customer", verb.customer.clone()), ("documents", cell(&found["documents"]))];
        return Report::facts(facts, found).print(global.output);
    }
    confirm_incarnation(global, verb.incarnation.as_deref()).await?;
    let order = Call::new(Method::POST, routes::ERASURES).json(&json!({ "customer": verb.customer }));
    changed(global, global.client()?.send(order).await?.value()?)
}
