//! Bytes of a file as text: UTF-8, what a byte order mark says, and of HTML the character set it declares.
//!
//! Nothing is guessed and nothing replaced: a text read in the wrong character set would be stored wrong and not found.

use encoding_rs::{Encoding, UTF_8};
use model::{Error, Result};

/// Where a page of HTML has to declare its character set (HTML standard, 13.2.3.2).
const DECLARED_WITHIN: usize = 1_024;

/// `declares` says that the form may name its character set in the text itself, as HTML does.
pub fn decoded(bytes: &[u8], declares: bool) -> Result<String> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return whole(encoding, &bytes[mark..]);
    }
    match declares.then(|| declared(bytes)).flatten() {
        Some(label) => match Encoding::for_label(label) {
            Some(encoding) => whole(encoding, bytes),
            None => Err(Error::invalid("import-not-utf8", "the file declares a character set that is not known")
                .with("charset", String::from_utf8_lossy(label))),
        },
        None => whole(UTF_8, bytes),
    }
}

fn whole(encoding: &'static Encoding, bytes: &[u8]) -> Result<String> {
    if encoding == UTF_8 {
        return std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
            let what = "the file is not UTF-8, has no byte order mark and declares no other character set; convert it";
            Error::invalid("import-not-utf8", what).with("byte", error.valid_up_to())
        });
    }
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let what = "the file is not in the character set that it declares or its byte order mark says";
    text.map(std::borrow::Cow::into_owned)
        .ok_or_else(|| Error::invalid("import-not-utf8", what).with("charset", encoding.name()))
}

/// The label after the first `charset=` in a `meta` element or an XML declaration's `encoding=`.
fn declared(bytes: &[u8]) -> Option<&[u8]> {
    let head = &bytes[..bytes.len().min(DECLARED_WITHIN)];
    let after = |name: &[u8]| {
        let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
        Some(&head[at + name.len()..])
    };
    let rest = if head.starts_with(b"<?xml") {
        after(b"encoding=").or_else(|| after(b"charset="))
    } else {
        after(b"charset=")
    }?;
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"-_.:".contains(byte)));
    Some(&rest[..end.unwrap_or(rest.len())]).filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn marks_and_declarations_are_followed_and_nothing_is_guessed() {
        assert_eq!(decoded(b"\xef\xbb\xbfZelle", false).unwrap(), "Zelle");
        assert_eq!(decoded(b"\xff\xfeZ\0\xfc\0", false).unwrap(), "Zü");
        assert_eq!(decoded(b"\xfe\xff\0Z\0\xfc", false).unwrap(), "Zü");
        let latin = b"<meta http-equiv=Content-Type content='text/html; charset=ISO-8859-1'><p>f\xfcr";
        assert!(decoded(latin, true).unwrap().ends_with("für"));
        let xml = b"<?xml version='1.0' encoding='iso-8859-1'?><p>f\xfcr";
        assert!(decoded(xml, true).unwrap().ends_with("für"));
        let refused = |bytes: &[u8], declares| decoded(bytes, declares).unwrap_err();
        assert_eq!(refused(latin, false).fact("byte"), Some("74"));
        assert_eq!(refused(b"<meta charset=klingon>x", true).fact("charset"), Some("klingon"));
        assert_eq!(refused(b"<meta charset=utf-8>\xff", true).code(), "import-not-utf8");
        assert_eq!(refused(b"\xff\xfex", false).fact("charset"), Some("UTF-16LE"));
    }
}
