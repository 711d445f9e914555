//! Where blocks of several lines end: tables, lists, indented text, literal blocks.

use super::indented;

/// Of a simple table.
const LINES_MAX: usize = 1_000;

/// Lines of a grid table, a simple table or a block of lines.
pub(super) fn table(lines: &[&str]) -> Option<usize> {
    let first = lines[0];
    if first.starts_with("+-") || first.starts_with("+=") {
        return Some(lines.iter().take_while(|line| line.starts_with(['+', '|'])).count());
    }
    if first == "|" || first.starts_with("| ") {
        return Some(lines.iter().take_while(|line| !line.is_empty()).count());
    }
    if !is_border(first) {
        return None;
    }
    // The border that ends it has an empty line after it; rows may have one between them. A longer one is no chunk in one
    // piece anyway, and looking further at every border would take the square of the text's length.
    let mut borders = lines.iter().take(LINES_MAX).enumerate().skip(1).filter(|(_, line)| is_border(line));
    let (last, _) = borders.find(|(at, _)| lines.get(at + 1).is_none_or(|next| next.is_empty()))?;
    Some(last + 1)
}

/// `====  ====`
fn is_border(line: &str) -> bool {
    line.starts_with("==") && line.contains("= ") && line.chars().all(|at| at == '=' || at == ' ')
}

/// Lines of a list with everything that stands in it, of fields or of options.
pub(super) fn list(lines: &[&str]) -> Option<usize> {
    is_item(lines[0]).then(|| {
        let end = (1..lines.len()).find(|at| {
            let line = lines[*at];
            !line.is_empty() && indented(line) == 0 && !is_item(line)
        });
        without_empty(lines, end.unwrap_or(lines.len()))
    })
}

fn is_item(line: &str) -> bool {
    let Some((mark, _)) = line.split_once(' ') else { return false };
    if matches!(mark, "-" | "*" | "+" | "•" | "‣" | "⁃") {
        return true;
    }
    if line.starts_with(':') && !line.starts_with("::") {
        // `:name: value`; a role at the beginning of a paragraph has no space after its colon.
        return line[1..].find(':').is_some_and(|end| end > 0 && line[1 + end + 1..].starts_with(' '));
    }
    let number = mark.strip_prefix('(').unwrap_or(mark);
    let Some(number) = number.strip_suffix(['.', ')']) else { return false };
    number == "#"
        || (number.len() <= 4 && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        || (number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Lines up to the next that is not indented.
pub(super) fn indented_lines(lines: &[&str]) -> usize {
    let end = lines.iter().position(|line| !line.is_empty() && indented(line) == 0).unwrap_or(lines.len());
    without_empty(lines, end)
}

fn without_empty(lines: &[&str], end: usize) -> usize {
    lines[..end].iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1)
}

/// Without the white space that all of them begin with.
pub(super) fn dedented<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let common = lines.iter().filter(|line| !line.is_empty()).map(|line| indented(line)).min().unwrap_or(0);
    let cut = |line: &&'t str| line.char_indices().nth(common).map_or("", |(at, _)| &line[at..]);
    lines.iter().map(cut).collect()
}

/// After `::`: how many empty lines, and how many of the literal block, which is indented or has each line quoted by the
/// same character.
pub(super) fn literal(lines: &[&str]) -> (usize, usize) {
    let Some(skipped) = lines.iter().position(|line| !line.is_empty()) else { return (0, 0) };
    let rest = &lines[skipped..];
    if indented(rest[0]) > 0 {
        return (skipped, indented_lines(rest));
    }
    match rest[0].chars().next().filter(char::is_ascii_punctuation) {
        Some(quote) if skipped > 0 && !rest[0].starts_with(".. ") => {
            (skipped, rest.iter().take_while(|line| line.starts_with(quote)).count())
        }
        _ => (0, 0),
    }
}
