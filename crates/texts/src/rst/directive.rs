//! Explicit markup: directives, footnotes, substitutions, targets, comments.

use super::{Reader, block, indented};
use model::Result;

/// What a directive holds.
enum Holds {
    Nothing,
    /// Only what stands for a picture.
    Picture,
    Code,
    Table,
    Text,
}

fn holds(name: &str) -> Holds {
    match name {
        "toctree" | "contents" | "include" | "literalinclude" | "raw" | "index" | "highlight" | "role" | "meta"
        | "default-role" | "sectnum" | "currentmodule" | "module" | "default-domain" | "autosummary" => Holds::Nothing,
        "image" | "figure" => Holds::Picture,
        "code" | "code-block" | "sourcecode" | "parsed-literal" | "math" | "doctest" | "testcode" | "testoutput"
        | "prompt" | "productionlist" | "graphviz" | "digraph" => Holds::Code,
        "table" | "list-table" | "csv-table" => Holds::Table,
        _ => Holds::Text,
    }
}

impl Reader<'_> {
    pub(super) fn explicit(&mut self, lines: &[&str], depth: usize) -> Result<usize> {
        let below = 1 + block::indented_lines(&lines[1..]);
        let first = lines[0].get(3..).unwrap_or_default().trim_start();
        let body = block::dedented(&lines[1..below]);
        if lines[0].starts_with("__") || first.starts_with('_') {
            // A link's target.
        } else if first.starts_with('[') && first.contains(']') {
            let text = [first].into_iter().chain(body.iter().copied().take_while(|line| !line.is_empty()));
            self.parts.paragraph(&text.clone().collect::<Vec<_>>().join(" "));
            let rest = body.get(text.count() - 1..).unwrap_or_default();
            self.nested(rest, depth)?;
        } else if let Some((name, argument)) = named(first) {
            self.directive(name, argument, &body, depth)?;
        }
        Ok(below)
    }

    fn directive(&mut self, name: &str, argument: &str, body: &[&str], depth: usize) -> Result<()> {
        // The argument goes on until the options or an empty line.
        let lead = body.iter().take_while(|line| !line.is_empty() && option(line).is_none()).count();
        let options = body[lead..].iter().take_while(|line| option(line).is_some() || indented(line) > 0).count();
        let options = &body[lead..lead + options];
        let content = &body[lead + options.len()..];
        let said = [argument].into_iter().chain(body[..lead].iter().copied()).collect::<Vec<_>>().join(" ");
        match holds(name) {
            Holds::Nothing => {}
            Holds::Picture => {
                let alternative = options.iter().filter_map(|line| option(line)).find(|(name, _)| *name == "alt");
                self.parts.paragraph(alternative.map_or("", |(_, words)| words));
                self.nested(content, depth)?;
            }
            Holds::Code => {
                // What stands right below the directive's line is code already, not argument.
                let (language, code) = if lead > 0 { (argument, body) } else { (argument, content) };
                let is_language = matches!(name, "code" | "code-block" | "sourcecode" | "prompt" | "doctest");
                let code = code.join("\n");
                let code = if is_language { code } else { format!("{argument}\n{code}") };
                if !code.trim().is_empty() {
                    self.parts.whole(&crate::fenced(if is_language { language } else { "" }, &code));
                }
            }
            Holds::Table => self.parts.whole(&format!("{}\n{}", said.trim(), content.join("\n").trim_matches('\n'))),
            Holds::Text => {
                self.parts.paragraph(&said);
                self.nested(content, depth)?;
            }
        }
        Ok(())
    }

    fn nested(&mut self, content: &[&str], depth: usize) -> Result<()> {
        if depth < super::DEPTH {
            return self.body(content, depth + 1);
        }
        self.parts.whole(&content.join("\n"));
        Ok(())
    }
}

/// `name:: argument`, after a substitution's `|name|` too.
fn named(text: &str) -> Option<(&str, &str)> {
    let text = match text.strip_prefix('|').and_then(|rest| rest.split_once('|')) {
        Some((_, rest)) => rest.trim_start(),
        None => text,
    };
    let (name, argument) = text.split_once("::")?;
    let is_name = |character: char| character.is_alphanumeric() || "-_+:.".contains(character);
    let is = !name.is_empty() && name.chars().all(is_name) && (argument.is_empty() || argument.starts_with(' '));
    is.then(|| (name, argument.trim()))
}

/// `:name: value`
fn option(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix(':')?.split_once(':')?;
    let is = !name.is_empty() && !name.contains(' ') && (value.is_empty() || value.starts_with(' '));
    is.then(|| (name, value.trim()))
}
