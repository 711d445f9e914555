//! Prints generated telecom intents, one JSON document a line: `intents COUNT [FIRST-SEED]`.
#![allow(clippy::print_stderr)]

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|word| word.parse().ok()).collect();
    let (count, first) = match numbers.as_deref() {
        Some([count]) => (*count, 0),
        Some([count, first]) => (*count, *first),
        _ => {
            eprintln!("usage: intents COUNT [FIRST-SEED]");
            return ExitCode::from(2);
        }
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let printed = (first..first.saturating_add(count)).try_for_each(|seed| {
        out.write_all(&testkit::intents::intent(seed))?;
        out.write_all(b"\n")
    });
    match printed.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("intents: {error}");
            ExitCode::FAILURE
        }
    }
}
