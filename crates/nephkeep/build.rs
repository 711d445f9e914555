//! Embeds every page of `docs/errors` in the binary, so that `nephkeep explain CODE` works without a network.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let pages = root.join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut table = String::from("pub static PAGES: &[(&str, &str)] = &[\n");
    for path in markdown_files(&pages)? {
        println!("cargo::rerun-if-changed={}", path.display());
        let Some(code) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        table.push_str(&format!("    ({code:?}, include_str!({:?})),\n", path.canonicalize()?));
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("pages.rs"), table)
}

/// Sorted, so that look-ups may bisect and builds are the same twice.
fn markdown_files(directory: &PathBuf) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    Ok(files)
}
