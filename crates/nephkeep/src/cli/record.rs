//! `record advise`: what is wrong with the record's tables, indexes and statements, and what to do. Exit 1 when something
//! is broken or has got worse; what merely should be otherwise does not fail, as with `doctor`.

use super::{Global, status::cell};
use crate::{
    client::Call,
    exit::{Exit, Failure, Outcome},
    output::{self, Format, Report, counted},
    routes,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

/// Look after the record's own tables
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Advise(Advise),
}

/// Name unused and doubled indexes, scans, garbage, old snapshots, and statements whose plans got worse
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep record advise\n  nephkeep record advise -o json\n  \
    nephkeep record advise --keep-baseline    what statements cost now is good: compare with it later\n\n\
    Exit 1 when a line says FAIL; warnings do not. It changes nothing. --keep-baseline stores the counters of all \
    statements (without values) in the record, in place of the baseline before.\n\
    Costs are those of one row that a statement gives, or of one call where it gives fewer.")]
struct Advise {
    /// Keep what statements have cost so far as the baseline of later advice, instead of advising
    #[arg(long)]
    keep_baseline: bool,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let Verb::Advise(advise) = &arguments.verb;
    let client = global.client()?;
    if advise.keep_baseline {
        let kept = client.send(Call::new(Method::PUT, routes::RECORD_BASELINE)).await?.value()?;
        return Report::facts(vec![("statements", cell(&kept["statements"]))], kept).print(global.output);
    }
    let advice = client.send(Call::get(routes::RECORD_ADVICE)).await?.value()?;
    let failed = list(&advice, "findings").iter().any(|finding| finding["verdict"] == "bad");
    match global.output {
        Format::Table => shown(&advice)?,
        format => Report::facts(Vec::new(), advice).print(format)?,
    }
    if failed { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}

fn list<'a>(advice: &'a Value, name: &str) -> &'a [Value] {
    advice[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn shown(advice: &Value) -> Outcome {
    let findings = list(advice, "findings");
    if findings.is_empty() {
        output::data("nothing to advise");
    } else {
        let rows = findings.iter().map(finding).collect();
        Report::new(&["", "what", "on", "found", "remedy"], rows, Value::Null).print(Format::Table)?;
    }
    let names = ["table", "rows", "dead", "bytes", "scans", "index_scans", "last_vacuum", "last_analyze"];
    table(list(advice, "tables"), &names)?;
    let statements = list(advice, "statements");
    if !statements.is_empty() {
        let kept = &advice["baseline"]["kept_at"];
        let since = kept.as_str().map_or_else(String::new, |at| format!(" since the baseline of {at}"));
        output::note(&format!("the costliest {}{since}", counted(statements.len() as u64, "statement")));
        let names = [
            "statement",
            "calls",
            "total_ms",
            "ms_each",
            "baseline_ms_each",
            "blocks_each",
            "baseline_blocks_each",
            "query",
        ];
        table(statements, &names)?;
    }
    Ok(())
}

fn table(items: &[Value], names: &[&'static str]) -> Outcome {
    output::data("");
    let rows = items.iter().map(|item| names.iter().map(|name| rounded(&item[*name])).collect()).collect();
    Report::new(names, rows, Value::Null).print(Format::Table)
}

fn rounded(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(number) => format!("{number:.3}"),
        None => cell(value),
    }
}

fn finding(finding: &Value) -> Vec<String> {
    let grade = if finding["verdict"] == "bad" { "FAIL" } else { "WARN" };
    let told = ["what", "on", "found", "remedy"].iter().map(|name| cell(&finding[*name]));
    std::iter::once(grade.to_owned()).chain(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finding_is_one_line_and_numbers_are_short() {
        let bad = json!({ "what": "plan-regression", "verdict": "bad", "on": "a1", "found": "f", "remedy": "r" });
        assert_eq!(finding(&bad), ["FAIL", "plan-regression", "a1", "f", "r"]);
        assert_eq!(
            (rounded(&json!(0.12345)), rounded(&json!(7)), rounded(&json!(null))),
            ("0.123".into(), "7".into(), "-".into())
        );
    }
}
