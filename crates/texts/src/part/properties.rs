//! Of every form: whatever the bytes are, no reader panics; whatever the text is, no word of it is lost.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::decoded;
use proptest::{collection::vec, prelude::*, sample::select};

const ALL: [Format; 4] = [Format::Markdown, Format::Rst, Format::Html, Format::Text];

/// What texts are made of, and what they are marked with.
fn pieces() -> impl Strategy<Value = String> {
    let marks = select(vec![
        "\n",
        "\n\n",
        "  ",
        "   ",
        "====",
        "----",
        "~~",
        "===  ===",
        "+---+",
        "|",
        "| ",
        "- ",
        "* ",
        "1. ",
        "#. ",
        ".. ",
        "..",
        ".. note::",
        ".. code-block:: x",
        ".. table:: ",
        ".. [1] ",
        ".. |a| image:: ",
        ":alt: ",
        "::",
        "__",
        "_a:",
        "# ",
        "```",
        "<h1>",
        "</h1>",
        "<h2>",
        "<table>",
        "</table>",
        "<tr>",
        "<td>",
        "</tr>",
        "<ul>",
        "<li>",
        "</ul>",
        "<pre>",
        "</pre>",
        "<nav>",
        "</nav>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<title>",
        "</title>",
        "<p>",
        "&amp;",
        "&#x0;",
        "<![CDATA[",
        "<blockquote>",
        "</blockquote>",
        "<svg>",
        "<",
        ">",
        "é",
        "\u{a0}",
        "\t",
        "\r\n",
        "\0",
    ]);
    vec(prop_oneof![3 => marks.prop_map(str::to_owned), 1 => "[a-z]{1,6}"], 0..120).prop_map(|all| all.concat())
}

/// A document as a tree of what every form can say; each word is there once.
#[derive(Debug, Clone)]
enum Piece {
    Heading(usize, usize),
    Paragraph(usize),
    List(usize),
    Code(usize),
    Table(usize),
}

fn documents() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        (0..3_usize, 1..5_usize).prop_map(|(level, words)| Piece::Heading(level, words)),
        (1..400_usize).prop_map(Piece::Paragraph),
        (1..40_usize).prop_map(Piece::List),
        (1..60_usize).prop_map(Piece::Code),
        (1..60_usize).prop_map(Piece::Table),
    ];
    vec(piece, 1..14)
}

struct Words(usize);

impl Words {
    fn take(&mut self, count: usize) -> Vec<String> {
        let from = self.0;
        self.0 += count;
        (from..self.0).map(|word| format!("w{word}w")).collect()
    }
}

fn written(format: Format, document: &[Piece]) -> (String, usize) {
    let (mut words, mut text, mut depth) = (Words(0), String::new(), 0);
    for piece in document {
        let piece = match piece {
            // Levels that are never left out: rst does not know others.
            Piece::Heading(level, count) => {
                depth = (*level).min(depth) + 1;
                heading(format, depth, &words.take(*count).join(" "))
            }
            Piece::Paragraph(count) => match format {
                Format::Html => format!("<p>{}</p>", words.take(*count).join(" ")),
                _ => words.take(*count).join(" "),
            },
            Piece::List(count) => {
                let items = words.take(*count).into_iter();
                match format {
                    Format::Html => format!("<ul>{}</ul>", items.map(|item| format!("<li>{item}")).collect::<String>()),
                    _ => items.map(|item| format!("- {item}\n")).collect(),
                }
            }
            Piece::Code(count) => code(format, &words.take(*count)),
            Piece::Table(count) => table(format, &words.take(*count)),
        };
        text.push_str(&piece);
        text.push_str("\n\n");
    }
    (text, words.0)
}

fn heading(format: Format, level: usize, words: &str) -> String {
    match format {
        Format::Markdown => format!("{} {words}", "#".repeat(level)),
        Format::Html => format!("<h{level}>{words}</h{level}>"),
        Format::Rst => format!("{words}\n{}", ["=", "-", "~"][level - 1].repeat(words.len())),
        Format::Text => words.to_owned(),
    }
}

fn code(format: Format, words: &[String]) -> String {
    match format {
        Format::Markdown => format!("```\n{}\n```", words.join("\n")),
        Format::Html => format!("<pre>{}</pre>", words.join("\n\n")),
        Format::Rst => format!("::\n\n{}", words.iter().map(|word| format!("  {word}\n\n")).collect::<String>()),
        Format::Text => words.join("\n"),
    }
}

fn table(format: Format, words: &[String]) -> String {
    let rows = || words.iter().map(|word| format!("| {word} |\n")).collect::<String>();
    match format {
        Format::Html => {
            format!("<table>{}</table>", words.iter().map(|word| format!("<tr><td>{word}")).collect::<String>())
        }
        Format::Markdown => format!("| a |\n|---|\n{}", rows()),
        Format::Rst => format!("+---------+\n{}+---------+", rows()),
        Format::Text => rows(),
    }
}

fn told(format: Format, text: &str) -> Vec<String> {
    let chunks = chunks_of(&sections(format, text).unwrap().1).unwrap();
    let all =
        chunks.iter().flat_map(|chunk| [chunk.heading.as_str(), chunk.text.as_str()]).collect::<Vec<_>>().join("\n");
    all.split(|character: char| !character.is_alphanumeric()).map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_reader_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..600)) {
        let _refused = (decoded(&bytes, true), decoded(&bytes, false));
        let text = String::from_utf8_lossy(&bytes);
        for format in ALL {
            let parted = sections(format, &text).and_then(|(_, sections)| chunks_of(&sections));
            prop_assert!(parted.is_ok());
        }
    }

    #[test]
    fn no_reader_panics_on_any_marks(text in pieces()) {
        for format in ALL {
            let chunks = chunks_of(&sections(format, &text).unwrap().1).unwrap();
            prop_assert_eq!(&chunks, &chunks_of(&sections(format, &text).unwrap().1).unwrap());
            prop_assert!(chunks.iter().all(|chunk| !chunk.text.trim().is_empty()));
        }
    }

    #[test]
    fn no_word_of_a_document_is_lost(document in documents()) {
        for format in ALL {
            let (text, count) = written(format, &document);
            let told: std::collections::HashSet<String> = told(format, &text).into_iter().collect();
            for word in 0..count {
                prop_assert!(told.contains(&format!("w{word}w")), "{:?} loses w{}w of\n{}", format, word, text);
            }
        }
    }

    #[test]
    fn a_table_is_whole_in_one_chunk(rows in 1..200_usize) {
        for format in [Format::Markdown, Format::Rst, Format::Html] {
            let (text, _) = written(format, &[Piece::Paragraph(3), Piece::Table(rows), Piece::Paragraph(3)]);
            let chunks = chunks_of(&sections(format, &text).unwrap().1).unwrap();
            let holds = |word: usize| chunks.iter().position(|chunk| chunk.text.contains(&format!("| w{word}w"))).unwrap();
            prop_assert_eq!(holds(3), holds(rows + 2), "{:?}", format);
        }
    }

    /// Plain text has no marks at all.
    #[test]
    fn plain_text_keeps_every_word_in_order(text in "[ -~\n]{0,3000}") {
        let chunks = chunks_of(&sections(Format::Text, &text).unwrap().1).unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let all: Vec<String> = chunks.iter().flat_map(|chunk| words(&chunk.text)).collect();
        prop_assert_eq!(all.concat(), words(&text).concat());
    }
}
