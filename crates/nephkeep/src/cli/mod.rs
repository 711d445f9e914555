//! The verbs: one file each. `Global` is what all of them share.

mod access;
mod audit;
mod completions;
mod configuration;
mod copies;
mod doctor;
mod down;
mod drill;
mod events;
mod explain;
mod history;
mod intent;
mod keys;
mod knowledge;
mod man;
mod metrics;
mod record;
mod schema;
mod serve;
mod status;
mod up;
mod values;

use crate::{
    client::{Client, Target},
    exit::Outcome,
    layout::Layout,
    output::Format,
};
use clap::{Args, Parser, Subcommand};
use model::Error;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  nephkeep up                              start everything in the default directory
  nephkeep intent import intents.jsonl     store what a file holds
  nephkeep intent list -o json             read it back
  nephkeep explain port-taken              what an error code means and what to do

Exit codes: 0 ok, 1 check failed, 2 usage, 3 refused for safety, 4 environment.
Data goes to stdout, everything else to stderr.";

/// Keeps the data of a telecom intent platform provably recoverable and governed.
#[derive(Debug, Parser)]
#[command(name = "nephkeep", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The directory of a local nephkeep [env: NEPHKEEP_DIR] [default: ~/.local/share/nephkeep; for root /var/lib/nephkeep]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Talk to this server instead of the one that runs on the directory [env: NEPHKEEP_URL]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Who to be [env: NEPHKEEP_CREDENTIAL_FILE] [default: DIR/admin-credential]
    #[arg(long, global = true, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// Why the data is used; recorded with every access
    #[arg(long, global = true, value_name = "TEXT")]
    purpose: Option<String>,
    /// How to print data
    #[arg(long, short, global = true, env = "NEPHKEEP_OUTPUT", value_enum, default_value_t, hide_env_values = true)]
    pub output: Format,
}

impl Global {
    /// What the command line leaves open. The parser is not told of these variables: it would count them as typed and
    /// show them as required.
    #[must_use]
    pub fn completed_by_environment(mut self) -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.dir = self.dir.or_else(|| path("NEPHKEEP_DIR"));
        self.credential_file = self.credential_file.or_else(|| path("NEPHKEEP_CREDENTIAL_FILE"));
        self.url = self.url.or_else(|| std::env::var("NEPHKEEP_URL").ok().filter(|url| !url.is_empty()));
        self
    }

    pub fn layout(&self) -> Outcome<Layout> {
        Layout::find(self.dir.as_deref())
    }

    /// A directory named by the verb itself goes before `--dir`.
    pub fn layout_or(&self, own: Option<&Path>) -> Outcome<Layout> {
        Layout::find(own.or(self.dir.as_deref()))
    }

    /// Whether another server was named than the one of the directory.
    pub fn is_remote(&self) -> bool {
        self.url.is_some()
    }

    pub fn client(&self) -> Outcome<Client> {
        Client::find(&Target {
            directory: self.dir.clone(),
            url: self.url.clone(),
            credential_file: self.credential_file.clone(),
            purpose: self.purpose.clone(),
        })
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Arguments),
    Down(down::Arguments),
    Serve(serve::Arguments),
    Status(status::Arguments),
    Doctor(doctor::Arguments),
    Intent(intent::Arguments),
    #[command(visible_alias = "config")]
    Configuration(configuration::Arguments),
    Knowledge(knowledge::Arguments),
    Metrics(metrics::Arguments),
    Events(events::Arguments),
    Schema(schema::Arguments),
    Verify(copies::Verify),
    Diff(copies::Diff),
    Rebuild(copies::Rebuild),
    Record(record::Arguments),
    Audit(audit::Arguments),
    Keys(keys::Arguments),
    Access(access::Arguments),
    Drill(drill::Arguments),
    Explain(explain::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Cli {
    /// The directory this is about, for advice; one that cannot be told is not advised on.
    #[must_use]
    pub fn layout(&self) -> Option<Layout> {
        let own = match &self.verb {
            Verb::Up(verb) => verb.directory(),
            Verb::Down(verb) => verb.directory(),
            _ => None,
        };
        self.global.layout_or(own).ok()
    }
}

pub async fn run(cli: Cli) -> Outcome {
    let global = cli.global;
    match cli.verb {
        Verb::Up(arguments) => up::run(&global, &arguments).await,
        Verb::Down(arguments) => down::run(&global, &arguments).await,
        Verb::Serve(arguments) => serve::run(&global, &arguments).await,
        Verb::Status(arguments) => status::run(&global, &arguments).await,
        Verb::Doctor(arguments) => doctor::run(&global, &arguments).await,
        Verb::Intent(arguments) => intent::run(&global, arguments).await,
        Verb::Configuration(arguments) => configuration::run(&global, arguments).await,
        Verb::Knowledge(arguments) => knowledge::run(&global, &arguments).await,
        Verb::Metrics(arguments) => metrics::run(&global, &arguments).await,
        Verb::Events(arguments) => events::run(&global, arguments).await,
        Verb::Schema(arguments) => schema::run(&global, &arguments).await,
        Verb::Verify(verb) => copies::verify(&global, &verb).await,
        Verb::Diff(verb) => copies::diff(&global, &verb).await,
        Verb::Rebuild(verb) => copies::rebuild(&global, &verb).await,
        Verb::Record(arguments) => record::run(&global, &arguments).await,
        Verb::Audit(arguments) => audit::run(&global, arguments).await,
        Verb::Keys(arguments) => keys::run(&global, arguments).await,
        Verb::Access(arguments) => access::run(&global, arguments).await,
        Verb::Drill(arguments) => drill::run(&global, arguments).await,
        Verb::Explain(arguments) => explain::run(&global, &arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
    }
}

/// Resolves at Ctrl-C, SIGTERM, or when the terminal goes away.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
        (Ok(mut told), Ok(mut hung_up)) => tokio::select! {
            _ = told.recv() => {}
            _ = hung_up.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "SIGTERM cannot be listened for; Ctrl-C still works");
            let _interrupted = tokio::signal::ctrl_c().await;
        }
    }
}

/// What cannot be undone is done only to the record that the caller named.
async fn confirm_incarnation(global: &Global, given: Option<&str>) -> Outcome {
    let published = status::published(&global.client()?).await?;
    if given == Some(published.parse::<model::Position>()?.incarnation.to_string().as_str()) {
        return Ok(());
    }
    let what = "this cannot be undone: repeat it with --incarnation and the id that `nephkeep status` shows";
    Err(Error::refused("incarnation-unconfirmed", what).with("given", given.unwrap_or("none")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_mutating_verb_can_be_tried_dry() {
        const MUTATING: [&str; 19] = [
            "seek",
            "register",
            "level",
            "produce-test",
            "retry",
            "rebuild",
            "up",
            "down",
            "create",
            "update",
            "delete",
            "import",
            "set",
            "rollback",
            "revoke",
            "rotate",
            "rotate-root",
            "recover",
            "destroy-subject",
        ];
        let mut pending: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        let mut found = std::collections::BTreeSet::new();
        while let Some(verb) = pending.pop() {
            if MUTATING.contains(&verb.get_name()) {
                assert!(verb.get_arguments().any(|argument| argument.get_id() == "dry_run"), "{}", verb.get_name());
                found.insert(verb.get_name().to_owned());
            }
            pending.extend(verb.get_subcommands().cloned());
        }
        assert_eq!(found.len(), MUTATING.len(), "{found:?}");
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let mut pending = vec![Cli::command()];
        let mut silent = Vec::new();
        while let Some(verb) = pending.pop() {
            let shown = verb.get_arguments().filter(|argument| !argument.is_hide_set());
            let mute = shown.filter(|argument| argument.get_help().is_none());
            silent.extend(mute.map(|argument| format!("{} {}", verb.get_name(), argument.get_id())));
            pending.extend(verb.get_subcommands().cloned());
        }
        assert!(silent.is_empty(), "no help: {silent:?}");
    }

    /// A verb's own option of the same name would take the place of the global one without a word; the parser merges them
    /// by id, which is the field's name.
    #[test]
    fn no_verb_has_an_option_of_a_global_ones_name() {
        let all = Cli::command();
        let names = |argument: &clap::Arg| {
            let id = argument.get_id().to_string();
            let long = argument.get_long().map(|long| format!("--{long}"));
            [Some(id), long, argument.get_short().map(|short| format!("-{short}"))].into_iter().flatten()
        };
        let globals: std::collections::BTreeSet<_> = all.get_arguments().flat_map(names).collect();
        assert!(["url", "--url", "credential_file", "-o"].iter().all(|name| globals.contains(*name)), "{globals:?}");
        let mut pending: Vec<_> = all.get_subcommands().collect();
        while let Some(verb) = pending.pop() {
            for name in verb.get_arguments().flat_map(names) {
                assert!(!globals.contains(&name), "{} {name}", verb.get_name());
            }
            pending.extend(verb.get_subcommands());
        }
    }

    #[test]
    fn a_time_that_is_none_is_told_what_is_wanted() {
        for verb in [&["metrics", "query", "up", "--at"][..], &["metrics", "range", "up", "--until"]] {
            let refused = Cli::try_parse_from([&["nephkeep"][..], verb, &["yesterday"]].concat());
            assert!(refused.is_err_and(|error| error.to_string().contains("wanted: a time with its zone")), "{verb:?}");
        }
    }

    #[test]
    fn every_verb_teaches_with_examples() {
        let mut pending: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        while let Some(verb) = pending.pop() {
            let verbs: Vec<_> = verb.get_subcommands().cloned().collect();
            let examples = verb.get_after_help().is_some_and(|help| help.to_string().contains("nephkeep "));
            assert!(examples || !verbs.is_empty() || verb.is_hide_set(), "{} shows no example", verb.get_name());
            assert!(verb.get_about().is_some(), "{} says not what it is", verb.get_name());
            pending.extend(verbs);
        }
    }
}
