//! `keys rotate-root` and `keys recover`: a new root, a new host key. The root's private key is handled here, on the
//! keystore's own machine, and goes into the kit file and nowhere else.

use super::{kit::write_page, older, open};
use crate::{
    cli::{Global, confirm_incarnation},
    client::Call,
    exit::{Exit, Failure, Outcome},
    output::{self, Report},
    routes, running,
    settings::Settings,
    wiring,
};
use audit::{Entry, TransparencyLog};
use clap::Args;
use keys::{
    Keystore, Kit,
    kit::{self, Fit},
};
use ledger::{connection::Connector, keystore_mark};
use model::{Error, Hlc, Result};
use reqwest::Method;
use serde_json::json;
use std::{fs, path::PathBuf};

/// Make a new root and write its kit; the old kit opens nothing from then on
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep keys rotate-root --kit /media/usb/kit.txt --incarnation 1-9f86d081884c7d65\n  \
    nephkeep keys rotate-root --kit kit.txt --page page.txt --incarnation ID     with a page to print\n  \
    nephkeep keys rotate-root --kit kit.txt --dry-run"
)]
pub struct RotateRoot {
    /// Where to write the kit (0600); must not exist
    #[arg(long, value_name = "FILE")]
    kit: PathBuf,
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

/// Make a new host key from the recovery kit, when the old one is lost or was seen by others; the server must be stopped
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep down && nephkeep keys recover --kit /media/usb/recovery-kit.txt && nephkeep up\n  \
    nephkeep keys recover --kit kit.txt --dry-run\n  \
    nephkeep keys recover --kit kit.txt --accept-older 17    when every newer generation than 17 is lost for good\n\n\
    --accept-older starts the record, makes a generation that is newer than the one it demands, and says what is lost:\n\
    what was sealed under keys of the lost generations reads as erased for ever; what was erased since stays erased."
)]
pub struct Recover {
    /// The kit, or a typed-in page
    #[arg(long, value_name = "FILE")]
    kit: PathBuf,
    /// Go on with this generation of the keystore, although the record demands a newer one: everything newer is lost for good
    #[arg(long, value_name = "GENERATION")]
    accept_older: Option<u64>,
    /// Show what would be replaced
    #[arg(long)]
    dry_run: bool,
}

pub async fn rotate(global: &Global, verb: &RotateRoot) -> Outcome {
    if let Some(path) = [Some(&verb.kit), verb.page.as_ref()].into_iter().flatten().find(|path| path.exists()) {
        let what = "the file exists; name one that does not, so that no other kit is lost";
        return Err(Error::conflict("credential-file-exists", what).with("path", path.display()).into());
    }
    let keystore = open(global)?;
    if verb.dry_run {
        let kit = verb.kit.display();
        output::note(&format!("dry run: a new root would be made, its kit written to {kit}, every slot rewritten"));
        return Ok(());
    }
    confirm_incarnation(global, verb.incarnation.as_deref()).await?;
    // The act is in the audit log before the key exists.
    global.client()?.send(Call::new(Method::POST, routes::ROOT_ROTATIONS)).await?;
    let (kit, destroyed) = keystore.rotate_root(|kit| write(kit, verb))?;
    demand(global, &keystore).await;
    let id = hex::encode(kit.keystore());
    let facts = vec![("kit", verb.kit.display().to_string()), ("keystore", id.clone())];
    let complete = destroyed.is_complete();
    let value = json!({ "kit": verb.kit, "page": verb.page, "keystore": id, "complete": complete });
    Report::facts(facts, value).print(global.output)?;
    output::note("move the kit to another machine or print it, then delete it here");
    let old = global.layout()?.recovery_kit();
    if old.exists() && old != verb.kit {
        output::note(&format!("the old kit opens nothing any more: delete {} and every copy of it", old.display()));
    } else {
        output::note("the old kit opens nothing any more: delete every copy of it");
    }
    // The server learns of the new epoch now rather than at its next change of keys. Told only when it cannot.
    if let Err(error) = global.client()?.send(Call::get(routes::KEYS)).await {
        output::note(&format!("the server has not looked at the new epoch yet ({})", error.code()));
    }
    if complete { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

/// A copy of the keystore from before, which the old kit opens, is refused by the record from now on.
async fn demand(global: &Global, keystore: &Keystore) {
    let raised = async {
        let settings = Settings::load(&global.layout()?, None)?;
        let connector = Connector::new(&wiring::record_url(&settings.record)?)?;
        Ok::<_, Failure>(keystore_mark::raise(&connector, keystore).await?)
    };
    if let Err(Failure::Error { error, .. }) = raised.await {
        output::note(&format!("the record will demand the new generation from its next start on: {error}"));
    }
}

/// Both files or none: a kit of a root that never came into force would deceive.
fn write(kit: &Kit, verb: &RotateRoot) -> Result<()> {
    kit.write(&verb.kit)?;
    let Some(page) = &verb.page else { return Ok(()) };
    write_page(kit, page).inspect_err(|_| {
        for path in [&verb.kit, page] {
            // Absent where it was not written.
            let _absent = fs::remove_file(path);
        }
    })
}

pub async fn recover(global: &Global, verb: &Recover) -> Outcome {
    let layout = global.layout()?;
    let settings = Settings::load(&layout, None)?;
    let root = Kit::read(&verb.kit)?;
    if verb.dry_run {
        output::note(&format!("dry run: {} would be replaced, every slot rewritten", settings.host_key.display()));
        if let Some(generation) = verb.accept_older {
            output::note(&format!(
                "dry run: generation {generation} would be made the newest, past what the record demands"
            ));
        }
        return Ok(());
    }
    // No server may run: it would go on with the old host key.
    let held = running::hold(&layout)?;
    let action = if verb.accept_older.is_some() { "keystore-accept-older" } else { "host-key-recover" };
    // Nothing is noted for a kit that cannot be used.
    match root.fits(&settings.slots) {
        Fit::Current | Fit::Unknown => record(&settings, action).await.map_err(Failure::environment)?,
        Fit::EarlierRoot | Fit::Other(_) => {}
    }
    let keystore = kit::recover(&root, &settings.keystore())?;
    if let Some(generation) = verb.accept_older {
        older::accept(&settings, &keystore, generation).await?.print(global.output)?;
        drop(held);
        return Ok(());
    }
    drop(held);
    let (key, generation) = (settings.host_key.display().to_string(), keystore.generation());
    let value = json!({ "host_key": key, "generation": generation, "epoch": keystore.epoch() });
    Report::facts(vec![("host key", key), ("generation", generation.to_string())], value).print(global.output)
}

/// A server does this for what goes through it; here nothing runs, so the log is opened for one entry.
async fn record(settings: &Settings, action: &str) -> Result<()> {
    let log = TransparencyLog::open_with(&settings.audit())?;
    let micros = u64::try_from(crate::clock::wall().as_microsecond()).unwrap_or(0);
    let entry = Entry::Act {
        hlc: Hlc::from_micros(micros).0,
        principal: "owner-of-the-directory".into(),
        tenant: server::identity::principals::HOME_TENANT.into(),
        action: action.into(),
        outcome: "ordered".into(),
        detail: String::new(),
    };
    let written = log.append(vec![entry]).await;
    log.close();
    written.map(drop)
}
