//! `keys …`: the keystore. What changes keys goes through the server, which audits it first; what only reads files, or
//! holds the root's private key, is done here and never sent anywhere.

use super::Global;
use crate::{
    client::Call,
    exit::{Exit, Failure, Outcome},
    layout, output,
    output::Report,
    routes,
    settings::Settings,
};
use clap::{Args, Subcommand};
use keys::{DirectoryHealth, Keystore, Kit, SlotHealth, kit};
use model::Error;
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Look after the keys that seal the documents
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(Status),
    Rotate(Rotate),
    #[command(subcommand)]
    Kit(KitVerb),
    DestroySubject(DestroySubject),
}

/// Show generations, epoch, slots and directories; exit 1 when one lags
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys status\n  nephkeep keys status -o json")]
struct Status {}

/// Seal the keystore under a fresh epoch key, in every slot
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys rotate --dry-run\n  nephkeep keys rotate")]
struct Rotate {
    /// Show what would be rotated
    #[arg(long)]
    dry_run: bool,
}

/// The recovery kit: the root's private key, the only way back on a bare machine
#[derive(Debug, Subcommand)]
enum KitVerb {
    Export(Export),
    Test(Test),
}

/// Make a new root and write its kit; the old kit opens nothing from then on
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep keys kit export /media/usb/recovery-kit.txt --incarnation 1-9f86d081884c7d65\n  \
    nephkeep keys kit export kit.txt --page page.txt --incarnation ID     with a page to print\n  \
    nephkeep keys kit export kit.txt --dry-run"
)]
struct Export {
    /// Where to write the kit (0600); must not exist
    file: PathBuf,
    /// Also a page to print and lock away; must not exist
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// The record's incarnation, as `nephkeep status` shows it: says that you mean this one
    #[arg(long, value_name = "ID")]
    incarnation: Option<String>,
    /// Show what would be written
    #[arg(long)]
    dry_run: bool,
}

/// Rebuild the keystore from a kit in an empty place, use it, and remove it again
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys kit test recovery-kit.txt\n  \
    nephkeep keys kit test kit.txt --from copies/generation-dir --slot copies/epoch.slot")]
struct Test {
    /// The kit, or a typed-in page
    kit: PathBuf,
    /// Directories with generations [default: as in the settings]
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Slots [default: as in the settings]
    #[arg(long, value_name = "FILE")]
    slot: Vec<PathBuf>,
}

/// Destroy the keys of a subject: its documents become unreadable for good, in every copy and backup
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep keys destroy-subject customer-17 --dry-run\n  \
    nephkeep keys destroy-subject customer-17 --incarnation 1-9f86d081884c7d65\n\n\
    This cannot be undone. The incarnation is shown by `nephkeep status`.")]
struct DestroySubject {
    /// The customer, as documents name it
    customer: String,
    /// The record's incarnation, as `nephkeep status` shows it: says that you mean this one
    #[arg(long, value_name = "ID")]
    incarnation: Option<String>,
    /// Show what would be destroyed
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Status(Status {}) => status(global),
        Verb::Rotate(verb) => rotate(global, &verb).await,
        Verb::Kit(KitVerb::Export(verb)) => export(global, &verb).await,
        Verb::Kit(KitVerb::Test(verb)) => test(global, &verb),
        Verb::DestroySubject(verb) => destroy_subject(global, &verb).await,
    }
}

fn open(global: &Global) -> Outcome<(Settings, Keystore)> {
    let settings = Settings::load(&global.layout()?, None)?;
    let keystore = Keystore::open(&settings.keystore()).map_err(Failure::environment)?;
    Ok((settings, keystore))
}

fn value(report: &impl serde::Serialize) -> Outcome<Value> {
    Ok(serde_json::to_value(report).map_err(|error| Error::bug("a report is not JSON").caused_by(error))?)
}

fn status(global: &Global) -> Outcome {
    let status = open(global)?.1.status()?;
    let mut rows = Vec::new();
    super::status::flatten("", &value(&status)?, &mut rows);
    Report { header: Vec::new(), rows, value: value(&status)? }.print(global.output)?;
    for slot in status.slots.iter().filter(|slot| slot.health != SlotHealth::Current) {
        output::note(&format!("slot {}: {:?}", slot.path.display(), slot.health));
    }
    for directory in status.directories.iter().filter(|directory| directory.health != DirectoryHealth::Current) {
        output::note(&format!("directory {}: {:?}", directory.path.display(), directory.health));
    }
    if status.is_healthy() { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

async fn rotate(global: &Global, verb: &Rotate) -> Outcome {
    if verb.dry_run {
        let status = open(global)?.1.status()?;
        output::note("dry run: nothing was changed");
        let value = json!({ "epoch": status.epoch, "slots": status.slots.len(), "generation": status.generation });
        let facts = vec![
            ("would replace", format!("epoch key {} in {} slots", status.epoch, status.slots.len())),
            (
                "and write",
                format!("a generation after {} in {} directories", status.generation, status.directories.len()),
            ),
        ];
        return Report::facts(facts, value).print(global.output);
    }
    let answer = global
        .client()?
        .send(Call::new(Method::POST, routes::KEYS_ROTATIONS).json(&json!({ "what": "epoch" })))
        .await?
        .value()?;
    changed(global, answer)
}

/// A change of epoch is complete when every slot confirmed; exit 1 until then.
fn changed(global: &Global, answer: Value) -> Outcome {
    let complete = answer["complete"] == true;
    let mut rows = Vec::new();
    super::status::flatten("", &answer, &mut rows);
    Report { header: Vec::new(), rows, value: answer }.print(global.output)?;
    if complete {
        return Ok(());
    }
    output::note(
        "a slot has not confirmed: the old epoch key may still lie there; repair it and run `nephkeep keys rotate`",
    );
    Err(Failure::Reported(Exit::CheckFailed))
}

async fn export(global: &Global, verb: &Export) -> Outcome {
    if let Some(path) = [Some(&verb.file), verb.page.as_ref()].into_iter().flatten().find(|path| path.exists()) {
        let what = "the file exists; name one that does not, so that no other kit is lost";
        return Err(Error::conflict("credential-file-exists", what).with("path", path.display()).into());
    }
    let (_, keystore) = open(global)?;
    if verb.dry_run {
        output::note(&format!(
            "dry run: a new root would be made, its kit written to {}, every slot rewritten",
            verb.file.display()
        ));
        return Ok(());
    }
    super::confirm_incarnation(global, verb.incarnation.as_deref()).await?;
    // The act is in the audit log before the key exists; the key itself never leaves this process but into the files.
    global.client()?.send(Call::new(Method::POST, routes::KIT_EXPORTS)).await?;
    let (kit, destroyed) = keystore.rotate_root(|kit| write(kit, verb))?;
    let facts = vec![("kit", verb.file.display().to_string()), ("keystore", hex::encode(kit.keystore()))];
    let value = json!({ "kit": verb.file, "page": verb.page, "keystore": hex::encode(kit.keystore()), "complete": destroyed.is_complete() });
    Report::facts(facts, value).print(global.output)?;
    output::note(
        "move the kit to another machine or print it, then delete it here; the old kit opens nothing any more",
    );
    if destroyed.is_complete() { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

fn write(kit: &Kit, verb: &Export) -> model::Result<()> {
    kit.write(&verb.file)?;
    let Some(page) = &verb.page else { return Ok(()) };
    let what = "the page cannot be written; nothing was changed";
    layout::write_private(page, kit.page().as_bytes())
        .map_err(|error| layout::io_error("directory-unusable", what, page, error))
}

fn test(global: &Global, verb: &Test) -> Outcome {
    let kit = Kit::read(&verb.kit)?;
    let layout = global.layout()?;
    let (directories, slots) = match (verb.from.is_empty(), verb.slot.is_empty()) {
        (false, false) => (verb.from.clone(), verb.slot.clone()),
        (own_from, own_slot) => {
            let settings = Settings::load(&layout, None)?;
            let from = if own_from { settings.key_directories } else { verb.from.clone() };
            (from, if own_slot { settings.slots } else { verb.slot.clone() })
        }
    };
    let target = std::env::temp_dir().join(format!("nephkeep-kit-test-{}", uuid::Uuid::new_v4()));
    let tested = kit::test(&kit, &kit::Sources { directories, slots }, &target);
    remove(&target);
    let report = tested?;
    let mut rows = Vec::new();
    super::status::flatten("", &value(&report)?, &mut rows);
    rows.push(vec![
        "verdict".to_owned(),
        if report.is_good() { "the kit works" } else { "an erasure is incomplete" }.to_owned(),
    ]);
    Report { header: Vec::new(), rows, value: value(&report)? }.print(global.output)?;
    if report.is_good() { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

/// The rebuilt keystore opens everything: it does not stay.
fn remove(target: &Path) {
    if let Err(error) = fs::remove_dir_all(target)
        && target.exists()
    {
        output::note(&format!(
            "the rebuilt keystore could not be removed, do it by hand: {}: {error}",
            target.display()
        ));
    }
}

async fn destroy_subject(global: &Global, verb: &DestroySubject) -> Outcome {
    if verb.dry_run {
        output::note(&format!(
            "dry run: the keys of {} would be destroyed and its documents unreadable for good; nothing was sent",
            verb.customer
        ));
        return Ok(());
    }
    super::confirm_incarnation(global, verb.incarnation.as_deref()).await?;
    let order = Call::new(Method::POST, routes::ERASURES).json(&json!({ "customer": verb.customer }));
    changed(global, global.client()?.send(order).await?.value()?)
}
