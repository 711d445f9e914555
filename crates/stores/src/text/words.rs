//! Texts into words, alike for what is stored and what is asked.
//!
//! A word is a run of letters and digits in small letters, without the ending of an English plural. Parts that stand
//! joined by one sign (`O-RAN`, `gNB_CU`, `2.1.3`, `intent/lifecycle`) count by themselves and as one word together.

/// A longer run is no word that anybody asks for: keys, hashes, pictures in letters.
const WORD_MAX_BYTES: usize = 64;
/// Parts that are joined into one word.
const JOINED_MAX: usize = 3;
/// Other rules, another name: an index of other rules is made anew.
pub const RULES: &str = "words_1";

/// In order, with repetitions.
pub fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let (mut found, mut joined) = (Vec::new(), Vec::new());
    let mut rest = lower.as_str();
    while let Some(at) = rest.find(char::is_alphanumeric) {
        // One sign in between joins; none stands before the first word.
        if at != 1 || !rest.starts_with(['-', '_', '.', '/', ':']) {
            put_joined(&mut joined, &mut found);
        }
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        put(&rest[..end], &mut found);
        joined.push(&rest[..end]);
        rest = &rest[end..];
    }
    put_joined(&mut joined, &mut found);
    found
}

fn put(word: &str, found: &mut Vec<String>) {
    if word.len() <= WORD_MAX_BYTES {
        found.push(singular(word));
    }
}

fn put_joined(joined: &mut Vec<&str>, found: &mut Vec<String>) {
    if (2..=JOINED_MAX).contains(&joined.len()) {
        put(&joined.concat(), found);
    }
    joined.clear();
}

/// `policies` → `policy`, `slices` → `slice`, `cells` → `cell`; not `status`, `access`, `sms`.
fn singular(word: &str) -> String {
    let letters = word.bytes().all(|byte| byte.is_ascii_lowercase());
    if letters && word.len() > 3 {
        if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 2) {
            return format!("{stem}y");
        }
        let kept = ["ss", "us", "is", "as", "os"];
        if let Some(stem) = word.strip_suffix('s').filter(|_| !kept.iter().any(|end| word.ends_with(end))) {
            return stem.to_owned();
        }
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_and_what_is_asked_meet_in_the_same_words() {
        assert_eq!(
            words("The O-RAN cells, policies & status"),
            ["the", "o", "ran", "oran", "cell", "policy", "status"]
        );
        assert_eq!(words("ORAN"), ["oran"]);
        assert_eq!(words("gNB_CU-UP v2.1.3.4"), ["gnb", "cu", "up", "gnbcuup", "v2", "1", "3", "4"]);
        assert_eq!(words("a--b /x Ünïcode straße"), ["a", "b", "x", "ünïcode", "straße"]);
        assert_eq!(words(" -…! "), Vec::<String>::new());
        assert_eq!(words(&"x".repeat(65)), Vec::<String>::new());
    }
}
