//! `intent import`: files into intents, many at a time, each document whole or not at all.

use crate::{
    cli::Global,
    client::Client,
    exit::{Exit, Failure, Outcome},
    import::{
        account::{Account, Fate},
        progress::Progress,
        send::{self, Order, Waits},
        source::{self, Document, Place},
    },
    output::{self, Format, Report},
};
use clap::Args;
use futures_util::{StreamExt, future::ready, stream};
use model::{
    Json, Result,
    intake::{self, Mapped},
};
use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Off a terminal there is a line this often; everywhere a server that lets wait is named.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Import intents from JSON, JSON Lines and YAML files
///
/// A document that was imported before is recognised and skipped, so an interrupted import is resumed by running it
/// again. A document that is refused is told with its place and reason, and the others are imported.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep intent import intents.jsonl\n  nephkeep intent import --dry-run exports/\n  \
    nephkeep intent import samples/*.yaml\n  \
    nephkeep intent import --allow-refused mixed.jsonl -o json > account.json\n\n\
    Exit 1 when a document was refused, unless --allow-refused."
)]
pub struct Import {
    /// Files, or directories that are searched for .json, .jsonl, .ndjson, .yaml and .yml
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Documents on their way at a time
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    in_flight: u16,
    /// Exit 0 although documents were refused
    #[arg(long)]
    allow_refused: bool,
    /// Read, map and check every document; send nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, verb: &Import) -> Outcome {
    let files = source::files(&verb.paths)?;
    let client = if verb.dry_run { None } else { Some(global.client()?) };
    let begun = Instant::now();
    let bytes = files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).sum();
    let progress = Progress::new(bytes);
    let mut account = Account::default();
    let documents = stream::iter(files).flat_map(|file| stream::iter(source::documents(&file)));
    let ended = each(documents, verb, client.as_ref(), &progress, &mut account).await;
    progress.finish();
    account.alike.rest().iter().for_each(|line| output::note(line));
    let seconds = begun.elapsed().as_secs_f64();
    if let Err(error) = ended {
        output::note(&format!("{} before the import stopped; run it again to go on", account.words()));
        account.stop(&error);
        if global.output != Format::Table {
            Report::facts(Vec::new(), account.value(seconds)).print(global.output)?;
        }
        return Err(error.into());
    }
    tell(global, verb, &account, seconds)
}

async fn each(
    documents: impl stream::Stream<Item = Document>,
    verb: &Import,
    client: Option<&Client>,
    progress: &Progress,
    account: &mut Account,
) -> Result<()> {
    let (order, waits) = (Order::default(), Waits::default());
    let (open, mut stopped) = (Cell::new(true), None);
    // Once something ended the import no document is begun, and those on their way are still counted.
    let documents = documents.take_while(|_| ready(open.get()));
    let fates = documents.map(|document| one(document, client, &order, &waits));
    let mut fates = std::pin::pin!(fates.buffer_unordered(usize::from(verb.in_flight)));
    let mut tick = tokio::time::interval(TELL_EVERY);
    tick.tick().await;
    loop {
        tokio::select! {
            biased;
            next = fates.next() => {
                let Some((place, bytes, fate)) = next else { break };
                match fate {
                    Ok(fate) => {
                        account.count(&place, fate).iter().for_each(|line| progress.note(line));
                        progress.step(bytes, || account.words());
                    }
                    Err(error) => {
                        open.set(false);
                        stopped = stopped.or(Some(error));
                    }
                }
            }
            _ = tick.tick() => progress.tell(&account.words(), waits.take()),
        }
    }
    stopped.map_or(Ok(()), Err)
}

async fn one(document: Document, client: Option<&Client>, order: &Order, waits: &Waits) -> (Place, u64, Result<Fate>) {
    let mapped = document.content.and_then(|row| mapped(&document.place, &row));
    let fate = match (mapped, client) {
        (Err(error), _) => Ok(Fate::Refused(error)),
        (Ok(mapped), Some(client)) => {
            let _turn = order.turn(&mapped.id).await;
            send::send(client, mapped, waits).await
        }
        (Ok(_), None) => Ok(Fate::Imported),
    };
    (document.place, document.bytes, fate)
}

fn mapped(place: &Place, row: &Json) -> Result<Mapped> {
    let (file, row_number) = place.row();
    intake::map(intake::Place { file: &file, row: row_number }, row)
}

/// The rules for one document, without a server.
pub fn check(document: &Json) -> Outcome {
    intake::map(intake::Place { file: "dry-run", row: 1 }, document)?;
    Ok(())
}

fn tell(global: &Global, verb: &Import, account: &Account, seconds: f64) -> Outcome {
    if global.output == Format::Table {
        output::data(&if verb.dry_run {
            format!("dry run: would import {}, refuses {}; the server was not asked", account.imported, account.refused)
        } else {
            format!("{} in {seconds:.1} s", account.words())
        });
    } else {
        Report::facts(Vec::new(), account.value(seconds)).print(global.output)?;
    }
    if account.refused > 0 && !verb.allow_refused { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}
