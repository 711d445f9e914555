//! The recovery kit: the root's private key and nothing else (RECORD 9).
//!
//! It opens any slot of its keystore, and a slot opens the newest generation, so one kit made on the first day reads
//! subjects of today, and cannot read what was erased since. One text form serves the file and the printed page: four
//! lines of key, each with a check word, so that a page can be typed in again and a slip is named by its line.

mod letters;
mod restore;

use crate::{
    digest, files,
    secret::{SECRET_BYTES, Secret},
    state::KeystoreId,
    wrap::Pair,
};
use model::{Error, Result};
use std::{fmt::Write, path::Path};
use zeroize::Zeroizing;

pub use restore::{Fit, Report, Sources, recover, restore, test};

const BEGIN: &str = "-----BEGIN NEPHKEEP RECOVERY KIT-----";
const END: &str = "-----END NEPHKEEP RECOVERY KIT-----";
const LINES: usize = 4;
const LINE_BYTES: usize = SECRET_BYTES / LINES;
/// A kit is far smaller; a larger file is none.
const FILE_MAX_BYTES: usize = 64 << 10;

/// Opens any slot of its keystore. Keep it off the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kit {
    keystore: KeystoreId,
    root: Pair,
}

fn damaged(why: &str) -> Error {
    Error::invalid("kit-damaged", format!("this is not a whole recovery kit: {why}"))
}

impl Kit {
    pub(crate) fn new(keystore: KeystoreId, root: Pair) -> Self {
        Self { keystore, root }
    }

    #[must_use]
    pub fn keystore(&self) -> [u8; 16] {
        self.keystore
    }

    #[must_use]
    pub fn root_public(&self) -> [u8; 32] {
        self.root.public
    }

    pub(crate) fn root_private(&self) -> &Secret {
        &self.root.private
    }

    fn check_word(&self, line: usize, bytes: &[u8]) -> String {
        let digest = digest::sha256(&[b"nephkeep kit line v1", &self.keystore, &[line as u8], bytes]);
        letters::word([digest[0], digest[1]])
    }

    /// The armoured text of the kit file.
    #[must_use]
    pub fn armour(&self) -> Zeroizing<String> {
        // Of fixed size, so that no grown-out-of buffer keeps a copy of the key.
        let mut text = Zeroizing::new(String::with_capacity(1_024));
        let _ = writeln!(text, "{BEGIN}\nFormat: 1\nKeystore: {}", hex::encode(self.keystore));
        let _ = writeln!(text, "Root-Public: {}\n", hex::encode(self.root.public));
        for (line, bytes) in self.root.private.bytes().chunks_exact(LINE_BYTES).enumerate() {
            let key = letters::encode(bytes);
            let _ = writeln!(text, "{} {} {}", line + 1, *key, self.check_word(line, bytes));
        }
        let _ = writeln!(text, "{END}");
        text
    }

    /// A page to print and lock away.
    #[must_use]
    pub fn page(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(4_096));
        text.push_str(PAGE_HEAD);
        text.push_str(&self.armour());
        text.push_str(PAGE_FOOT);
        text
    }

    /// Reads a kit file or a page that was typed in: case, spaces and other text do not matter.
    pub fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            let lines = text.lines().map(str::trim);
            lines
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|f| f.1.trim())
        };
        if field("Format").is_some_and(|format| format != "1") {
            return Err(damaged("it has a format that this version does not read: use a newer nephkeep"));
        }
        let mut keystore = [0; 16];
        let named = field("Keystore").ok_or_else(|| damaged("the line `Keystore:` is missing"))?;
        hex::decode_to_slice(named, &mut keystore).map_err(|_| damaged("`Keystore:` is not 32 hexadecimal digits"))?;
        let mut private = Zeroizing::new([0; SECRET_BYTES]);
        for (line, bytes) in private.chunks_exact_mut(LINE_BYTES).enumerate() {
            read_line(text, line, bytes)?;
        }
        let kit = Self { keystore, root: Pair::from_private(Secret::new(*private))? };
        kit.check_lines(text)?;
        match field("Root-Public") {
            Some(public) if !public.eq_ignore_ascii_case(&hex::encode(kit.root.public)) => {
                Err(damaged("the key does not belong to its `Root-Public:`"))
            }
            _ => Ok(kit),
        }
    }

    fn check_lines(&self, text: &str) -> Result<()> {
        for (line, bytes) in self.root.private.bytes().chunks_exact(LINE_BYTES).enumerate() {
            let given = key_line(text, line).and_then(|mut words| words.nth(1)).unwrap_or_default();
            if !given.eq_ignore_ascii_case(&self.check_word(line, bytes)) {
                let why = "a line and its check word disagree: compare it with the page, and the `Keystore:` line too";
                return Err(damaged(why).with("line", line + 1));
            }
        }
        Ok(())
    }

    /// Writes the armoured file for the owner alone, durably; never over an existing one.
    pub fn write(&self, path: &Path) -> Result<()> {
        if path.exists() {
            let words = "there is a file already where the kit should go; a kit is never overwritten: choose another";
            return Err(Error::refused("kit-exists", words).with("path", path.display()));
        }
        files::create_durably(path, self.armour().as_bytes())
    }

    pub fn read(path: &Path) -> Result<Self> {
        let Some(bytes) = files::read_copy(path)?.map(Zeroizing::new) else {
            let words = "there is no recovery kit at this path";
            return Err(Error::not_found("kit-missing", words).with("path", path.display()));
        };
        let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= FILE_MAX_BYTES);
        let kit = text.ok_or_else(|| damaged("it is not a short text")).and_then(Self::parse);
        kit.map_err(|error| error.with("path", path.display()))
    }
}

/// The words of a key line after its number.
fn key_line(text: &str, line: usize) -> Option<impl Iterator<Item = &str>> {
    let number = (line + 1).to_string();
    text.lines().find_map(|candidate| {
        let mut words = candidate.split_whitespace();
        (words.next() == Some(number.as_str())).then_some(words)
    })
}

fn read_line(text: &str, line: usize, bytes: &mut [u8]) -> Result<()> {
    let key = key_line(text, line).and_then(|mut words| words.next());
    let key = key.ok_or_else(|| damaged("a line of the key is missing").with("line", line + 1))?;
    let decoded = letters::decode(key).filter(|decoded| decoded.len() == bytes.len());
    let decoded = decoded.ok_or_else(|| damaged("a line of the key is misspelt").with("line", line + 1))?;
    bytes.copy_from_slice(&decoded);
    Ok(())
}

const PAGE_HEAD: &str = "\
NEPHKEEP RECOVERY KIT

Print this page, lock it away, and delete the file. Whoever has it together with
a slot and a generation of the keystore reads everything that is not erased.
Without it, and without the host key, a lost machine means lost data for ever.

It holds the root's private key only: it never goes out of date as subjects come
and go, and it cannot bring back what was erased.

";

const PAGE_FOOT: &str = "
To use it: type the block above into a text file (capitals and spaces do not
matter; 0 and O, 1 and I and L are taken for one another), then

  nephkeep keys kit test --kit FILE       rebuild in an empty directory, compare
  nephkeep keys recover --kit FILE        make a new host key on this machine

The word behind a line checks that line: a slip is named by its line number.
Test the kit now and once a year. After `keys rotate-root` this page is void.
";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kit() -> Kit {
        Kit::new([0xAB; 16], Pair::from_private(Secret::new(std::array::from_fn(|at| at as u8 * 7))).unwrap())
    }

    #[test]
    fn a_kit_survives_file_and_page() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kit.txt");
        kit().write(&path).unwrap();
        assert_eq!(Kit::read(&path).unwrap(), kit());
        assert_eq!(kit().write(&path).unwrap_err().code(), "kit-exists");
        assert_eq!(Kit::parse(&kit().page()).unwrap(), kit());
    }

    #[test]
    fn a_page_may_be_typed_in_small_letters_with_look_alikes_and_without_the_frame() {
        let armour = kit().armour();
        let key_part: String = armour
            .lines()
            .filter(|l| !l.starts_with("-----") && !l.contains("Public"))
            .fold(String::new(), |text, line| text + "   " + &line.to_lowercase().replace('0', "o") + "\r\n");
        let typed = key_part.replace("keystore: ", "Keystore:");
        assert_eq!(Kit::parse(&typed).unwrap(), kit());
    }

    #[test]
    fn a_slip_is_named_by_its_line() {
        let armour = kit().armour();
        let third = armour.lines().find(|line| line.starts_with("3 ")).unwrap().to_owned();
        let slip = third.replacen(char::from(third.as_bytes()[3]), "Z", 1);
        let error = Kit::parse(&armour.replace(&third, &slip)).unwrap_err();
        assert_eq!((error.code(), error.fact("line")), ("kit-damaged", Some("3")));
        let error = Kit::parse(&armour.replace(&third, "")).unwrap_err();
        assert_eq!((error.code(), error.fact("line")), ("kit-damaged", Some("3")));
        let other = armour.replace("Keystore: abab", "Keystore: abac");
        assert_eq!(Kit::parse(&other).unwrap_err().code(), "kit-damaged");
    }

    #[test]
    fn neither_debug_nor_error_shows_the_key() {
        let key = hex::encode(kit().root.private.bytes());
        assert!(!format!("{:?}", kit()).contains(&key[..16]));
        let half: String = kit().armour().lines().take(7).collect::<Vec<_>>().join("\n");
        let error = format!("{:?}", Kit::parse(&half).unwrap_err());
        let first = kit().armour().lines().find(|line| line.starts_with("1 ")).unwrap().to_owned();
        assert!(!error.contains(first.split(' ').nth(1).unwrap()));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(Keystore: [0-9a-f]{32}\n)?([1-4] [0-9A-Z-]{0,20} [a-z-]{0,6}\n){0,5}.{0,40}") {
            prop_assert!(Kit::parse(&text).is_err());
        }
    }
}
