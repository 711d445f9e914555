//! `explain CODE`: cause, check and remedy of an error code, from pages embedded in the binary.

use super::Global;
use crate::{
    exit::Outcome,
    output::{self, Format, Report},
    pages,
};
use clap::Args;
use model::Error;
use serde_json::json;

/// Explain an error code: cause, check, remedy
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep explain port-taken\n  nephkeep explain            every code there is")]
pub struct Arguments {
    /// As printed in `error[CODE]`; without it, all codes are listed
    code: Option<String>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let Some(code) = &arguments.code else { return list(global.output) };
    // As it stands in an error, brackets and all.
    let bare = code.trim().trim_start_matches("error").trim_matches(['[', ']', ':', ' ']).to_ascii_lowercase();
    let Some((code, page)) = pages::find(&bare) else {
        let near = pages::nearest(&bare, 3).join(", ");
        let what = format!("no error has this code; the nearest are: {near}");
        return Err(Error::invalid("code-unknown", what).with("code", output::printable(code)).into());
    };
    match global.output {
        Format::Table => output::data(&plain(page)),
        format => page_report(code, page).print(format)?,
    }
    Ok(())
}

/// The page without its marks: headings on lines of their own, as everywhere else on this command line.
fn plain(page: &str) -> String {
    let shown = |line: &str| match line.trim_start_matches('#').trim_start() {
        heading if line.starts_with("##") => format!("\n{heading}"),
        title if line.starts_with('#') => title.to_owned(),
        _ => format!("  {line}"),
    };
    page.lines().filter(|line| !line.is_empty()).map(shown).collect::<Vec<_>>().join("\n")
}

fn page_report(code: &str, page: &str) -> Report {
    let section = |heading| pages::section(page, heading);
    let value = json!({
        "code": code, "cause": section("Cause"), "check": section("Check"), "remedy": section("Remedy"),
    });
    Report::new(&[], Vec::new(), value)
}

fn list(format: Format) -> Outcome {
    let row = |(code, page): &(&str, &str)| vec![(*code).to_owned(), first_sentence(page)];
    let rows: Vec<_> = pages::PAGES.iter().map(row).collect();
    let value = rows.iter().map(|row| json!({ "code": row[0], "cause": row[1] })).collect();
    Report::new(&["code", "cause"], rows, value).print(format)
}

fn first_sentence(page: &str) -> String {
    let cause = pages::section(page, "Cause").unwrap_or_default();
    cause.split_inclusive(". ").next().unwrap_or_default().trim().to_owned()
}
