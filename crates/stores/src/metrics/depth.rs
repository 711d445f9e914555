//! How deep an expression's tree can become, told from its text alone: the tree is built, walked, printed and dropped by
//! recursion, so a text that nests too deeply must never become one.

/// Deeper ones are not written by people.
pub const DEEPEST: usize = 200;

/// Never less than the depth of the tree: every bracket is a level, and every operator may be one of the bracket it
/// stands in, up to the next comma.
#[must_use]
pub fn at_most(text: &str) -> usize {
    let (mut levels, mut deepest) = (vec![0_usize], 0);
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'"' | b'\'' | b'`' => rest = past_string(*byte, rest),
            b'#' => rest = past(rest, |byte| byte != b'\n'),
            b'(' | b'[' => levels.push(0),
            b')' | b']' if levels.len() > 1 => _ = levels.pop(),
            b',' => set(&mut levels, 0),
            b'{' => rest = past_matchers(rest),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'=' | b'!' | b'<' | b'>' | b'@' => raise(&mut levels),
            byte if is_letter(*byte) => {
                let word = past(rest, |byte| is_letter(byte) || byte.is_ascii_digit());
                if is_operator(&text.as_bytes()[text.len() - rest.len() - 1..text.len() - word.len()]) {
                    raise(&mut levels);
                }
                rest = word;
            }
            _ => {}
        }
        deepest = deepest.max(levels.len() + levels.iter().sum::<usize>());
        if deepest > DEEPEST {
            break;
        }
    }
    deepest
}

fn set(levels: &mut [usize], operators: usize) {
    if let Some(level) = levels.last_mut() {
        *level = operators;
    }
}

fn raise(levels: &mut [usize]) {
    if let Some(level) = levels.last_mut() {
        *level += 1;
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

fn is_operator(word: &[u8]) -> bool {
    ["and", "or", "unless", "atan2", "offset"].iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn past(text: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !of(*byte)).unwrap_or(text.len());
    &text[end..]
}

/// Behind the closing quote; a backslash guards the next byte but between back-quotes.
fn past_string(quote: u8, mut rest: &[u8]) -> &[u8] {
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'\\' if quote != b'`' => rest = rest.get(1..).unwrap_or_default(),
            byte if *byte == quote => break,
            _ => {}
        }
    }
    rest
}

/// Matchers stand in a row: they nest nothing.
fn past_matchers(mut rest: &[u8]) -> &[u8] {
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'"' | b'\'' | b'`' => rest = past_string(*byte, rest),
            b'#' => rest = past(rest, |byte| byte != b'\n'),
            b'}' => break,
            _ => {}
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_counts_and_what_stands_side_by_side_does_not() {
        for (text, depth) in [
            ("up", 1),
            ("((a))", 3),
            ("a + b + c", 3),
            ("f(a + b, c + d)", 3),
            ("--a", 3),
            ("a{b=\"((((\",c!~'++'} # ((((", 1),
            ("`((\\` + a", 2),
            ("a or b and (c unless d)", 5),
            ("orange + ander", 2),
            ("max_over_time(rate(a[5m])[1h:1m])", 4),
        ] {
            assert_eq!(at_most(text), depth, "{text}");
        }
    }
}
