//! The pages of `docs/errors`, embedded at build time.

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of a code, with the code as a string that lives as long as the program.
#[must_use]
pub fn find(code: &str) -> Option<(&'static str, &'static str)> {
    let at = PAGES.binary_search_by_key(&code, |(name, _)| name).ok()?;
    PAGES.get(at).copied()
}

/// What stands under a `## heading`, on one line.
#[must_use]
pub fn section(page: &str, heading: &str) -> Option<String> {
    let start = page.find(&format!("## {heading}\n"))?;
    let body = page[start..].split_once('\n')?.1;
    let body = body.split("\n## ").next()?;
    let words: Vec<_> = body.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// Up to `count` codes that read most like the one asked for, best first.
#[must_use]
pub fn nearest(code: &str, count: usize) -> Vec<&'static str> {
    let wanted = code.to_ascii_lowercase();
    let mut scored: Vec<_> = PAGES.iter().map(|(name, _)| (distance(&wanted, name), *name)).collect();
    scored.sort_unstable();
    scored.into_iter().take(count).map(|(_, name)| name).collect()
}

/// Edit distance; a shared word counts as nearness, because people remember words of a code, not their order.
fn distance(left: &str, right: &str) -> usize {
    let shared = left.split(['-', '_', ' ']).filter(|word| word.len() > 2 && right.contains(word)).count();
    levenshtein(left, right).saturating_sub(4 * shared)
}

fn levenshtein(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, r) in row[1..].iter_mut().zip(&right) {
            let best = (diagonal + usize::from(l != *r)).min(before + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            before = best;
        }
        row[0] = i + 1;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_can_be_found_and_has_a_remedy() {
        assert!(!PAGES.is_empty());
        for (code, page) in PAGES {
            assert_eq!(find(code).map(|(name, _)| name), Some(*code));
            assert!(section(page, "Remedy").is_some(), "{code}");
        }
    }

    #[test]
    fn a_misspelled_code_leads_to_the_right_one() {
        assert_eq!(levenshtein("kitten", "sitting"), 3);
        assert_eq!(nearest("prot-taken", 1), ["port-taken"]);
        assert_eq!(nearest("taken port", 1), ["port-taken"]);
    }
}
