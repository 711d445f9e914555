//! Chores that start other programs.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

type Outcome = Result<(), String>;

pub fn test(root: &Path) -> Outcome {
    cargo(root, &["fmt", "--all", "--", "--check"])?;
    cargo(root, &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    cargo(root, &["test", "--workspace", "--quiet"])
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
