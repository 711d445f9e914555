//! Chores that start other programs.

use crate::summary::Summary;
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

type Outcome = Result<(), String>;

pub fn test(root: &Path) -> Outcome {
    cargo(root, &["fmt", "--all", "--", "--check"])?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    let mut summary = Summary::default();
    // Doc-tests first: there are few, and what comes last is read.
    let ran = counted(root, &["test", "--workspace", "--doc", "--quiet"], &mut summary)
        .and_then(|()| counted(root, &["test", "--workspace", "--all-targets", "--quiet"], &mut summary));
    match ran {
        Ok(()) if summary.is_good() => {
            println!("{summary}");
            Ok(())
        }
        Ok(()) => Err(summary.to_string()),
        Err(why) => Err(format!("{why}\n{summary}")),
    }
}

/// Shows what cargo prints as it comes, and adds up the runner's own results.
fn counted(root: &Path, args: &[&str], summary: &mut Summary) -> Outcome {
    let shown = format!("cargo {}", args.join(" "));
    let failed = |error: io::Error| format!("`{shown}`: {error}");
    let mut command = Command::new(program_of_cargo());
    let mut child = command.args(args).current_dir(root).stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(output) = child.stdout.take() {
        passed_on(BufReader::new(output), &mut io::stdout(), summary).map_err(failed)?;
    }
    match child.wait().map_err(failed)? {
        status if status.success() => Ok(()),
        status => Err(format!("`{shown}` ended with {status}")),
    }
}

/// A dot for each test has no line of its own: what is there is shown before the line is whole.
fn passed_on(mut from: impl BufRead, to: &mut impl Write, summary: &mut Summary) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let more = from.fill_buf()?;
        let length = more.iter().position(|byte| *byte == b'\n').map_or(more.len(), |at| at + 1);
        if length == 0 {
            summary.hear(&String::from_utf8_lossy(&line));
            return Ok(());
        }
        to.write_all(&more[..length])?;
        to.flush()?;
        line.extend_from_slice(&more[..length]);
        from.consume(length);
        if line.ends_with(b"\n") {
            summary.hear(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
}

pub fn ci(root: &Path) -> Outcome {
    program(root, "bash", &[".ci/run"])
}

/// Benchmarks and long checkers are subcommands of the `bench` binary, always built for release.
pub fn bench(root: &Path, name: &str, rest: &[String]) -> Outcome {
    let mut args: Vec<&str> = vec!["run", "--release", "--quiet", "--package", "bench", "--"];
    if name != "bench" {
        args.push(name);
    }
    args.extend(rest.iter().map(String::as_str));
    // In this process's place: who interrupts `cargo x bench` interrupts the bench, which then ends its servers.
    let error = Command::new(program_of_cargo()).args(&args).current_dir(root).exec();
    Err(format!("`cargo {}` did not start: {error}", args.join(" ")))
}

fn program_of_cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

fn cargo(root: &Path, args: &[&str]) -> Outcome {
    program(root, &program_of_cargo(), args)
}

fn program(root: &Path, name: &str, args: &[&str]) -> Outcome {
    let shown = format!("{name} {}", args.join(" "));
    let status = Command::new(name).args(args).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` did not start: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_came_and_results_are_counted() {
        let text =
            "\nrunning 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\nrunning 1 test\n.";
        let (mut shown, mut summary) = (Vec::new(), Summary::default());
        assert!(passed_on(BufReader::with_capacity(7, text.as_bytes()), &mut shown, &mut summary).is_ok());
        assert_eq!(String::from_utf8_lossy(&shown), text);
        assert_eq!(summary.to_string(), "test result: ok. 2 passed; 0 failed; 0 ignored; all of 1 run");
    }
}
