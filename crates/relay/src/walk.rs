//! Every live resource of a kind, page by page, across tenants.

use crate::feed::State;
use ledger::Ledger;
use model::{Kind, Result, Tenant};
use std::{collections::VecDeque, sync::Arc};

/// Rows of a page: bounded even where each is as large as a document may be.
const PAGE: u32 = 64;

#[derive(Debug)]
pub(crate) struct Walk<'l> {
    ledger: &'l Ledger,
    kind: Kind,
    /// The first is the one that is being read.
    tenants: VecDeque<Tenant>,
    after: Arc<str>,
}

impl<'l> Walk<'l> {
    pub(crate) async fn new(ledger: &'l Ledger, kind: Kind) -> Result<Self> {
        let tenants = ledger.tenants().await?.into();
        Ok(Self { ledger, kind, tenants, after: "".into() })
    }

    /// None: that was all.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<State>>> {
        while let Some(tenant) = self.tenants.front() {
            let rows = self.ledger.kept(tenant, self.kind, &self.after, PAGE).await?;
            match rows.last() {
                Some(last) if rows.len() == PAGE as usize => self.after = Arc::clone(&last.key.id),
                _ => {
                    self.tenants.pop_front();
                    self.after = "".into();
                }
            }
            if !rows.is_empty() {
                return Ok(Some(rows.into_iter().map(State::Kept).collect()));
            }
        }
        Ok(None)
    }
}
