//! Letters that survive print and typing: Crockford's base 32 for the key, proquints for check words.

use zeroize::Zeroizing;

/// Without I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";
const GROUP: usize = 4;

/// Groups of four joined by hyphens; the last digit is padded with zero bits.
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let digits = (bytes.len() * 8).div_ceil(5);
    let mut text = Zeroizing::new(String::with_capacity(digits * 2));
    for digit in 0..digits {
        if digit > 0 && digit % GROUP == 0 {
            text.push('-');
        }
        let value = (0..5).fold(0, |value, at| value << 1 | bit(bytes, digit * 5 + at));
        text.push(char::from(ALPHABET[value]));
    }
    text
}

fn bit(bytes: &[u8], at: usize) -> usize {
    bytes.get(at / 8).map_or(0, |byte| usize::from(byte >> (7 - at % 8) & 1))
}

/// `None` for a letter that is none of ours, or padding that is not zero.
pub fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut bits) = (0u32, 0u32);
    for letter in text.bytes().filter(|letter| *letter != b'-') {
        held = held << 5 | value_of(letter)?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (held == 0 && bits < 5).then_some(bytes)
}

fn value_of(letter: u8) -> Option<u32> {
    let letter = match letter.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == letter).and_then(|at| u32::try_from(at).ok())
}

/// Sixteen bits as a pronounceable word of five letters.
pub fn word(bytes: [u8; 2]) -> String {
    let bits = usize::from(u16::from_be_bytes(bytes));
    let consonant = |shift: usize| char::from(CONSONANTS[bits >> shift & 15]);
    let vowel = |shift: usize| char::from(VOWELS[bits >> shift & 3]);
    [consonant(12), vowel(10), consonant(6), vowel(4), consonant(0)].iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the proquint proposal: 127.0.0.1 is lusab-babad.
    #[test]
    fn words_are_proquints() {
        assert_eq!((word([127, 0]), word([0, 1])), ("lusab".into(), "babad".into()));
    }

    proptest! {
        #[test]
        fn letters_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&bytes);
            prop_assert_eq!(&*decode(&text).unwrap(), &bytes);
            prop_assert_eq!(&*decode(&text.to_lowercase()).unwrap(), &bytes);
        }
        #[test]
        fn any_text_is_answered(text in ".{0,60}") {
            let _ = decode(&text);
        }
    }
}
