//! `audit …`: the transparency log. `verify` and `prove` read only files and a public key: no server, no database.

use super::{Global, status::cell};
use crate::{
    client::Call,
    exit::{Exit, Failure, Outcome},
    layout,
    output::{self, Format, Report, counted},
    routes, running,
    settings::Settings,
};
use audit::{Checkpoint, Continued, Continuity, Entry, PublicKey};
use clap::{Args, Subcommand};
use model::{Error, Result};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Read, verify and prove the audit trail
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Verify(Verify),
    Prove(Prove),
    Reconcile(Reconcile),
}

/// List entries: who did or read what, when and why
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep audit list --limit 20\n  nephkeep audit list --principal orchestrator --kind access\n  \
    nephkeep audit list --since 2026-11-01T00:00:00Z -o json"
)]
struct List {
    /// Only entries of this principal
    #[arg(long)]
    principal: Option<String>,
    /// Only writes, accesses, acts or restores
    #[arg(long, value_parser = ["write", "access", "act", "restore"])]
    kind: Option<String>,
    /// From this time on (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = super::values::time)]
    since: Option<jiff::Timestamp>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = super::values::time)]
    until: Option<jiff::Timestamp>,
    /// At most so many
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = super::values::count)]
    limit: u32,
}

/// Where the log lies; for `verify` and `prove`.
#[derive(Debug, Args)]
struct Place {
    /// The log's directory, also a copy of it [default: as in the settings]
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// The log's public key [default: as in the settings]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// Verify the whole log, or one proof, offline
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep audit verify\n  nephkeep audit verify --log copy-of-audit --public-key log.pub\n  \
    nephkeep audit verify --proof entry-17.proof\n  nephkeep audit verify --continues checkpoint-of-november\n\n\
    Recomputes every hash, every tile, the signature and the gaplessness of writes; exit 1 on any difference.\n\
    With --continues it also shows that nothing under a checkpoint that you kept was changed since."
)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// A proof file to check instead of the whole log
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// An older checkpoint, kept elsewhere, that this log has to continue
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    continues: Option<PathBuf>,
}

/// Prove that an entry stands in the log
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep audit prove 17 > entry-17.proof\n  nephkeep audit verify --proof entry-17.proof\n\n\
    The proof is a C2SP tlog-proof: anyone who has the log's public key can check it without the log."
)]
struct Prove {
    /// The entry's index, as `audit list` shows it
    index: u64,
    #[command(flatten)]
    place: Place,
}

/// Compare the log with the record: every change audited, every audited change there
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep audit reconcile\n  nephkeep audit reconcile -o json\n\nExit 1 when anything is missing on either side."
)]
struct Reconcile {}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::List(verb) => list(global, &verb).await,
        Verb::Verify(verb) => verify(global, &verb).await,
        Verb::Prove(verb) => prove(global, &verb),
        Verb::Reconcile(Reconcile {}) => reconcile(global).await,
    }
}

async fn list(global: &Global, verb: &List) -> Outcome {
    let call = Call::get(routes::AUDIT)
        .maybe("principal", verb.principal.as_ref())
        .maybe("kind", verb.kind.as_ref())
        .maybe("since", verb.since)
        .maybe("until", verb.until)
        .query("limit", verb.limit);
    let answer = global.client()?.send(call).await?;
    if global.output == Format::Json {
        return output::document(Format::Json, &answer.text);
    }
    let value = answer.value()?;
    let entries = value.as_array().or_else(|| value["entries"].as_array()).cloned().unwrap_or_default();
    let header = ["index", "time", "entry", "principal", "tenant", "what"];
    let rows = entries.iter().map(row).collect();
    Report::new(&header, rows, value).print(global.output)
}

fn row(entry: &Value) -> Vec<String> {
    let mut row = ["index", "time", "entry", "principal", "tenant"].map(|name| cell(&entry[name])).to_vec();
    row.push(match entry["entry"].as_str() {
        Some("access") => {
            let positions = entry["positions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let first = positions.first().map_or_else(String::new, |first| format!(" at {}", cell(first)));
            let more = if positions.len() > 1 { ", …" } else { "" };
            let documents = counted(positions.len() as u64, "document");
            format!("{documents}{first}{more}, purpose {}", cell(&entry["purpose"]))
        }
        Some("write") => ["action", "kind", "id", "version"].map(|name| cell(&entry[name])).join(" "),
        Some("act") => ["action", "outcome", "detail"].map(|name| cell(&entry[name])).join(" "),
        _ => format!("to {}, voided {}", cell(&entry["to"]), cell(&entry["voided"])),
    });
    row
}

/// The log's directory and public key, from the arguments, else from the settings.
fn place(global: &Global, place: &Place) -> Outcome<(PathBuf, PublicKey)> {
    let (log, key) = match (&place.log, &place.public_key) {
        (Some(log), Some(key)) => (log.clone(), key.clone()),
        (log, key) => {
            let settings = Settings::load(&global.layout()?, None)?;
            let log = log.clone().unwrap_or(settings.audit_directory);
            (log, key.clone().unwrap_or_else(|| settings.audit_keys.join("log.pub")))
        }
    };
    Ok((log, public_key(&key)?))
}

fn public_key(path: &Path) -> Result<PublicKey> {
    let text = fs::read_to_string(path).map_err(|error| {
        layout::io_error(
            "audit-key-unreadable",
            "the log's public key cannot be read; name it with --public-key",
            path,
            error,
        )
    })?;
    text.trim().parse().map_err(|error: Error| error.with("path", path.display()))
}

async fn verify(global: &Global, verb: &Verify) -> Outcome {
    let (log, key) = place(global, &verb.place)?;
    if let Some(proof) = &verb.proof {
        return verify_proof(global, proof, &key);
    }
    if verb.place.log.is_none() {
        ask_for_checkpoint(global).await;
    }
    // Not to be there is another fault than not to hold.
    fs::metadata(log.join("checkpoint")).map_err(|error| {
        layout::io_error("audit-log-unreadable", "there is no audit log that can be read here", &log, error)
    })?;
    let report = audit::verify::verify(&log, &key)?;
    let kept = verb.continues.as_deref().map(|path| kept(&log, path, &key)).transpose();
    let kept = match kept {
        // A log that does not hold in itself shows its differences first.
        Err(_) if !report.ok() => None,
        kept => kept?,
    };
    let mut value =
        serde_json::to_value(&report).map_err(|error| Error::bug("a report is not JSON").caused_by(error))?;
    let mut facts = vec![
        ("log", log.display().to_string()),
        ("origin", report.origin.clone()),
        ("entries", report.size.to_string()),
        ("root", report.root.clone()),
        ("not yet under a checkpoint", report.beyond.to_string()),
        ("last writes", report.writes.join(", ")),
    ];
    // An empty log proves nothing: every installation's log begins with its first admin.
    let verified = report.ok() && report.size > 0;
    let verdict = match (verified, report.findings_in_all) {
        (true, _) => "verified".to_owned(),
        (false, 0) => "nothing stands under a checkpoint yet".to_owned(),
        (false, differences) => counted(differences, "difference"),
    };
    value["verdict"] = json!(verdict);
    facts.push(("verdict", verdict));
    if let Some(kept) = &kept {
        facts.extend([
            ("kept checkpoint", counted(kept.kept.size, "entry")),
            ("continued", told(kept, report.ok()).to_owned()),
        ]);
        value["continues"] = continuity(kept, report.ok());
    }
    Report::facts(facts, value).print(global.output)?;
    for finding in &report.findings {
        let at = finding.index.map(|index| format!(" at {index}")).unwrap_or_default();
        let file = finding.file.as_deref().unwrap_or("-");
        output::note(&format!("{}{at} ({file}): {}", finding.what, output::printable(&finding.message)));
    }
    let continued = kept.is_none_or(|kept| kept.verdict == Continuity::Continues);
    if verified && continued { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

fn kept(log: &Path, path: &Path, key: &PublicKey) -> Result<Continued> {
    let text = fs::read_to_string(path)
        .map_err(|error| layout::io_error("document-unreadable", "the kept checkpoint cannot be read", path, error))?;
    let signed = Checkpoint::open(&text, key).map_err(|error| error.with("path", path.display()));
    signed.and_then(|_| audit::continues(log, &text, key))
}

/// Of a log that is damaged nothing is said about its history: that would accuse whoever holds its key.
fn told(continued: &Continued, whole: bool) -> &'static str {
    match continued.verdict {
        Continuity::Continues => "yes: the log begins with everything that checkpoint signed",
        Continuity::Shorter => {
            "NO, SHORTER: entries that checkpoint signed are not in this log; it was cut, or is an older copy"
        }
        Continuity::Forked if !whole => "NOT TOLD: this log does not hold in itself; see the differences",
        Continuity::Forked => {
            "NO, FORKED: this log has another history than that checkpoint signed; keep both, they are the evidence"
        }
    }
}

fn continuity(continued: &Continued, whole: bool) -> Value {
    let Continued { kept, now, verdict, path } = continued;
    let verdict = match verdict {
        Continuity::Continues => "continues",
        Continuity::Shorter => "shorter",
        Continuity::Forked if !whole => "not-told",
        Continuity::Forked => "forked",
    };
    let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let proof: Vec<_> = path.iter().map(hex).collect();
    json!({
        "verdict": verdict, "kept": { "size": kept.size, "root": hex(&kept.root) },
        "now": { "size": now.size, "root": hex(&now.root) }, "proof": proof,
    })
}

/// A server that runs on the directory signs what it has first, so that the newest entries are verified too. Without
/// one, or without a credential, the last checkpoint serves.
async fn ask_for_checkpoint(global: &Global) {
    let running = global.layout().ok().and_then(|layout| running::find(&layout)).is_some();
    if running
        && let Ok(client) = global.client()
        && let Err(error) = client.send(Call::get(routes::CHECKPOINT)).await
    {
        output::note(&format!("no fresh checkpoint ({}); verifying up to the last one", error.code()));
    }
}

fn verify_proof(global: &Global, path: &Path, key: &PublicKey) -> Outcome {
    let text = fs::read_to_string(path)
        .map_err(|error| layout::io_error("document-unreadable", "the proof cannot be read", path, error))?;
    let proven = audit::check_proof(&text, key).map_err(|error| {
        let what = "the checkpoint in this proof is not signed with this log's key";
        let checkpoint = error.code() == "audit-checkpoint-invalid";
        if checkpoint { Error::corrupt("audit-proof-invalid", what).with("path", path.display()) } else { error }
    })?;
    let entry = described(&proven.entry);
    let value = json!({ "index": proven.index, "size": proven.checkpoint.size, "entry": entry, "proven": true });
    let facts = vec![
        ("proven", format!("entry {} of {}", proven.index, key.name())),
        ("under the checkpoint of size", proven.checkpoint.size.to_string()),
        ("entry", entry),
    ];
    Report::facts(facts, value).print(global.output)
}

fn described(entry: &Entry) -> String {
    match entry {
        Entry::Write { position, principal, action, id, version, .. } => {
            format!("{principal} {action} {id}, version {version}, at {position}")
        }
        Entry::Access { principal, purpose, positions, .. } => {
            let positions: Vec<_> = positions.iter().map(ToString::to_string).collect();
            format!("{principal} read {}, purpose {purpose}", positions.join(", "))
        }
        Entry::Act { principal, action, outcome, detail, .. } => format!("{principal}: {action} {outcome} {detail}"),
        Entry::Restore { from, to, voided, .. } => format!("restore from {from} to {to}, voided {voided:?}"),
    }
}

/// The proof is a text format of its own, whatever `-o` says.
fn prove(global: &Global, verb: &Prove) -> Outcome {
    let (log, key) = place(global, &verb.place)?;
    let proof = audit::prove(&log, verb.index)?;
    audit::check_proof(&proof, &key)?;
    output::data(&proof);
    Ok(())
}

async fn reconcile(global: &Global) -> Outcome {
    let answer = global.client()?.send(Call::get(routes::RECONCILIATION)).await?;
    let value = answer.value()?;
    let complete = value["findings_in_all"] == 0;
    let mut rows = Vec::new();
    super::status::flatten("", &value, &mut rows);
    Report { header: Vec::new(), rows, value }.print(global.output)?;
    if complete { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}
