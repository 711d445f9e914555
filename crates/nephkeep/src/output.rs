//! What the program prints: data on stdout in the format asked for, everything else on stderr.

use crate::{
    exit::{Failure, Outcome},
    layout::Layout,
    pages, pretty, yaml,
};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use model::{Error, Json};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

/// Rows for people; the same facts as a JSON value for programs.
#[derive(Debug)]
pub struct Report {
    pub header: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    pub value: Value,
}

impl Report {
    #[must_use]
    pub fn new(header: &[&'static str], rows: Vec<Vec<String>>, value: Value) -> Self {
        Self { header: header.to_vec(), rows, value }
    }

    /// A list of named facts.
    #[must_use]
    pub fn facts(facts: Vec<(&'static str, String)>, value: Value) -> Self {
        let rows = facts.into_iter().map(|(name, fact)| vec![name.to_owned(), fact]).collect();
        Self { header: Vec::new(), rows, value }
    }

    pub fn print(&self, format: Format) -> Outcome {
        match format {
            Format::Table => data(&table(&self.header, &self.rows)),
            Format::Json => data(&serde_json::to_string_pretty(&self.value).map_err(unprintable)?),
            Format::Yaml => data(&serde_saphyr::to_string(&self.value).map_err(unprintable)?),
        }
        Ok(())
    }
}

fn unprintable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Error::bug("an answer could not be printed").caused_by(error).into()
}

/// A JSON text as received: numbers keep their literal.
pub fn document(format: Format, text: &str) -> Outcome {
    match format {
        Format::Table | Format::Json => data(&pretty::indent(text)),
        Format::Yaml => data(&yaml::print(&model::json::parse(text.as_bytes())?)?),
    }
    Ok(())
}

/// Rows for people; for programs the value, whose numbers keep their literal.
pub fn listed(format: Format, header: &[&str], rows: Vec<Vec<String>>, value: &Json) -> Outcome {
    match format {
        Format::Table => data(&table(header, &rows)),
        other => document(other, &String::from_utf8_lossy(&value.to_bytes()))?,
    }
    Ok(())
}

/// One or more lines on stdout. A reader that has gone (`| head`) ends the program quietly.
pub fn data(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.trim_end().as_bytes()).and_then(|()| out.write_all(b"\n"));
    if written.and_then(|()| out.flush()).is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// Progress and advice. That nobody reads it is no failure.
pub fn note(text: &str) {
    let _unread = writeln!(io::stderr().lock(), "{text}");
}

/// An error as an operator needs it: what, where, what to do, and where to read on. Advice is about the directory named.
///
/// A program that asked for JSON gets it as JSON, on one line.
pub fn failure(error: &Error, layout: Option<&Layout>, format: Format) {
    let spoken = |text: &str| layout.map_or_else(|| text.to_owned(), |layout| layout.spoken(text));
    if format == Format::Json {
        let page = pages::find(error.code()).and_then(|(_, page)| pages::section(page, "Remedy"));
        let remedy = page.map(|remedy| spoken(&remedy));
        let said = json!({ "code": error.code(), "message": spoken(&error.to_string()), "remedy": remedy });
        return note(&json!({ "error": said }).to_string());
    }
    note(&format!("error[{}]: {}", error.code(), spoken(&error.to_string())));
    let Some((code, page)) = pages::find(error.code()) else { return };
    if let Some(remedy) = pages::section(page, "Remedy") {
        note(&format!("  what to do: {}", spoken(&remedy)));
    }
    note(&format!("  read more:  nephkeep explain {code}"));
}

/// `1 document`, `2 documents`.
#[must_use]
pub fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

#[must_use]
pub fn on_terminal() -> bool {
    io::stderr().is_terminal()
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.iter().map(|name| name.to_uppercase()));
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    // The padding before the first column is not ours.
    let bare = |line: String| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned();
    table.lines().map(bare).collect::<Vec<_>>().join("\n")
}

/// Stored text may hold anything, also commands to a terminal: control characters are shown, not sent.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
    }

    #[test]
    fn a_table_has_a_heading_and_no_trailing_blanks() {
        let text = table(&["id", "name"], &[vec!["1".into(), "x".into()], vec!["22".into(), String::new()]]);
        assert_eq!(
            text.lines().next().map(|line| line.split_whitespace().collect::<Vec<_>>()),
            Some(vec!["ID", "NAME"])
        );
        assert!(text.lines().all(|line| line == line.trim_end()));
        assert_eq!(text.lines().count(), 3);
    }
}
