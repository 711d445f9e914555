//! `access …`: principals, their roles and tokens. A token is written into a file of mode 0600 and shown nowhere else.

use super::{Global, status::cell};
use crate::{
    client::{Call, Client},
    credential::{self, Credential},
    exit::{Failure, Outcome},
    layout,
    output::{self, Report},
    recovery::{self, Ordered},
    routes,
};
use clap::{Args, Subcommand};
use model::{Error, Role};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Manage who may do what
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Revoke(Revoke),
    Rotate(Rotate),
    Recover(Recover),
}

/// Create a principal and write its credential file
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep access create orchestrator --role writer --to orchestrator.credential\n  \
    nephkeep access create audit-team --role auditor --to audit.credential --dry-run\n\n\
    Roles: admin, operator, writer, reader, auditor. Use the file with --credential-file."
)]
struct Create {
    /// What the new principal is called in audit entries
    name: String,
    /// What it may do; repeatable
    #[arg(long, required = true, value_parser = role)]
    role: Vec<Role>,
    /// Where to write its credential
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Show what would be created
    #[arg(long)]
    dry_run: bool,
}

/// List principals, without their tokens
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep access list\n  nephkeep access list -o json")]
struct List {}

/// End a principal's access at once
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep access revoke orchestrator\n  nephkeep access revoke orchestrator --dry-run"
)]
struct Revoke {
    /// The principal whose token ends
    name: String,
    /// Show what would be revoked
    #[arg(long)]
    dry_run: bool,
}

/// Give a principal a new token; the old one ends at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep access rotate orchestrator --to orchestrator.credential\n  \
    nephkeep access rotate local-admin           the admin's own file is rewritten")]
struct Rotate {
    /// The principal that gets a new token
    name: String,
    /// Where to write the new credential [default for the directory's own admin: its file]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Show what would be rotated
    #[arg(long)]
    dry_run: bool,
}

/// Make a new admin credential for a local installation whose admins are locked out
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep access recover\n  nephkeep access recover --dry-run\n\n\
    Needs no credential: who may write into the directory may do it. A running server does it at once, a stopped one at\n\
    the next `nephkeep up`. local-admin then has a new token, its old one ends; it is audited as admin-recover.")]
struct Recover {
    /// Show what would be made
    #[arg(long)]
    dry_run: bool,
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

pub async fn run(global: &Global, arguments: Arguments) -> Outcome {
    match arguments.verb {
        Verb::Create(verb) => create(global, &verb).await,
        Verb::List(List {}) => list(global).await,
        Verb::Revoke(verb) => revoke(global, &verb).await,
        Verb::Rotate(verb) => rotate(global, &verb).await,
        Verb::Recover(verb) => recover(global, &verb).await,
    }
}

async fn create(global: &Global, verb: &Create) -> Outcome {
    model::resource::check_name("principal", &verb.name)?;
    if verb.dry_run {
        output::note(&format!("dry run: {} would be created; nothing was sent", verb.name));
        return Ok(());
    }
    let client = global.client()?;
    reserve(&verb.to)?;
    let roles: Vec<_> = verb.role.iter().map(|role| role.as_str()).collect();
    let call = Call::new(Method::POST, routes::PRINCIPALS).json(&json!({ "name": verb.name, "roles": roles }));
    match client.send(call).await {
        Ok(answer) => keep(global, &answer.value()?, &verb.to),
        Err(error) => {
            // Reserved and empty: nothing is lost with it.
            let _absent = fs::remove_file(&verb.to);
            if error.code() == "already-exists" {
                let what = "there is a principal of this name already";
                return Err(Error::conflict("principal-exists", what).with("name", &verb.name).into());
            }
            Err(error.into())
        }
    }
}

/// A token is shown once, so the file for it must be there first. One that exists may be somebody's credential and is
/// not overwritten.
fn reserve(path: &Path) -> Outcome {
    let reserved = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    reserved.map(drop).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let what = "the file exists; name one that does not, so that no other credential is lost";
            return Error::conflict("credential-file-exists", what).with("path", path.display()).into();
        }
        let what = "the credential file cannot be written";
        Failure::environment(layout::io_error("credential-unwritable", what, path, error))
    })
}

fn keep(global: &Global, answer: &Value, to: &Path) -> Outcome {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let credential = Credential { principal: text("name"), tenant: text("tenant"), token: text("token") };
    if credential.token.is_empty() {
        return Err(Error::corrupt("answer-malformed", "the server's answer holds no token").into());
    }
    credential::write(to, &credential)?;
    let facts = vec![
        ("principal", credential.principal.clone()),
        ("tenant", credential.tenant.clone()),
        ("credential", to.display().to_string()),
    ];
    let value = json!({ "principal": credential.principal, "tenant": credential.tenant, "credential": to });
    Report::facts(facts, value).print(global.output)
}

async fn list(global: &Global) -> Outcome {
    let value = global.client()?.send(Call::get(routes::PRINCIPALS)).await?.value()?;
    let row = |principal: &Value| {
        let roles = principal["roles"].as_array().cloned().unwrap_or_default();
        let roles = roles.iter().map(cell).collect::<Vec<_>>().join(",");
        let state = if principal["disabled"] == true { "revoked" } else { "active" };
        vec![cell(&principal["name"]), cell(&principal["tenant"]), roles, state.to_owned(), cell(&principal["created"])]
    };
    let rows = value.as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
    Report::new(&["name", "tenant", "roles", "state", "created"], rows, value).print(global.output)
}

async fn there_is(client: &Client, name: &str) -> Outcome {
    client.send(Call::get(routes::below(routes::PRINCIPALS, name))).await?;
    Ok(())
}

async fn revoke(global: &Global, verb: &Revoke) -> Outcome {
    let client = global.client()?;
    if verb.dry_run {
        there_is(&client, &verb.name).await?;
        output::note(&format!("dry run: the access of {} would end; nothing was sent", verb.name));
        return Ok(());
    }
    client.send(Call::new(Method::DELETE, routes::below(routes::PRINCIPALS, &verb.name))).await?;
    Report::facts(vec![("revoked", verb.name.clone())], json!({ "revoked": verb.name })).print(global.output)
}

async fn rotate(global: &Global, verb: &Rotate) -> Outcome {
    let client = global.client()?;
    let own = global.layout()?.credential();
    let to = match &verb.to {
        Some(to) => to.clone(),
        None if credential::read(&own).is_ok_and(|credential| credential.principal == verb.name) => own,
        None => {
            let what = "say with --to where the new credential shall be written";
            return Err(Error::invalid("credential-file-missing", what).into());
        }
    };
    if verb.dry_run {
        there_is(&client, &verb.name).await?;
        output::note(&format!("dry run: {} would get a new token in {}; nothing was sent", verb.name, to.display()));
        return Ok(());
    }
    let path = format!("{}/token", routes::below(routes::PRINCIPALS, &verb.name));
    keep(global, &client.send(Call::new(Method::POST, path)).await?.value()?, &to)
}

async fn recover(global: &Global, verb: &Recover) -> Outcome {
    let layout = global.layout()?;
    let credential = layout.credential();
    if verb.dry_run {
        output::note(&format!("dry run: {} would be written anew; nothing was ordered", credential.display()));
        return Ok(());
    }
    let (state, next) = match recovery::order(&layout).await? {
        Ordered::Done => ("made", "nephkeep access list"),
        Ordered::AtNextStart => ("made by the next start", "nephkeep up"),
    };
    let facts = vec![("credential", credential.display().to_string()), ("state", state.into()), ("next", next.into())];
    Report::facts(facts, json!({ "credential": credential, "state": state, "next": next })).print(global.output)
}
