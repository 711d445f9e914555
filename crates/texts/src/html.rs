//! HTML as sections, from its tokens: headings, paragraphs, lists, tables and code. What is not text to be read is left
//! out: scripts, styles, navigation, pictures.
//!
//! No tree is built, so nothing depends on how deep a page is nested or how wrong its marks are. What a browser would
//! put right by moving elements stays where it stands in the text; no word of it is lost.

mod state;

use crate::part::Parts;
use html5ever::{
    Attribute, LocalName, local_name,
    tendril::StrTendril,
    tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, states::RawKind},
};
use model::Result;
use state::Page;
pub(crate) use state::fenced;
use std::cell::RefCell;

pub(crate) fn walk(text: &str, parts: &mut Parts) -> Result<()> {
    let page = Page::new(std::mem::take(parts));
    let walk = Walk { page: RefCell::new(page), left_out: RefCell::default() };
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(text));
    let tokenizer = Tokenizer::new(walk, html5ever::tokenizer::TokenizerOpts::default());
    let _done = tokenizer.feed(&input);
    tokenizer.end();
    *parts = tokenizer.sink.page.into_inner().finished()?;
    Ok(())
}

struct Walk {
    page: RefCell<Page>,
    /// The element that is left out, and how many of its name stand open in it.
    left_out: RefCell<Option<(LocalName, usize)>>,
}

impl TokenSink for Walk {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => return self.tag(&tag),
            Token::CharacterTokens(text) if self.left_out.borrow().is_none() => self.page.borrow_mut().text(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Walk {
    fn tag(&self, tag: &Tag) -> TokenSinkResult<()> {
        let starts = tag.kind == TagKind::StartTag;
        if !self.passes_over(tag, starts) {
            let mut page = self.page.borrow_mut();
            if starts {
                page.start(&tag.name, attribute(&tag.attrs, &local_name!("alt")))
            } else {
                page.end(&tag.name)
            }
            if starts && tag.self_closing && tag.name == local_name!("title") {
                page.end(&tag.name);
            }
        }
        // What a parser with a tree would say: in these, marks are text.
        match tag.name {
            // XHTML: what ends itself holds nothing.
            _ if !starts || tag.self_closing => TokenSinkResult::Continue,
            local_name!("script") => TokenSinkResult::RawData(RawKind::ScriptData),
            local_name!("title") | local_name!("textarea") => TokenSinkResult::RawData(RawKind::Rcdata),
            local_name!("style") | local_name!("xmp") | local_name!("iframe") | local_name!("noembed") => {
                TokenSinkResult::RawData(RawKind::Rawtext)
            }
            _ => TokenSinkResult::Continue,
        }
    }

    fn passes_over(&self, tag: &Tag, starts: bool) -> bool {
        let mut left_out = self.left_out.borrow_mut();
        match &mut *left_out {
            // Navigation that is not closed ends where the page says that its text begins.
            Some((name, _)) if starts && *name == local_name!("nav") && is_main(&tag.name) => *left_out = None,
            Some((name, open)) if *name == tag.name => {
                if starts {
                    *open += 1;
                } else {
                    *open -= 1;
                }
                if *open == 0 {
                    *left_out = None;
                }
                return true;
            }
            Some(_) => return true,
            None if starts && !tag.self_closing && is_no_text(tag) => {
                *left_out = Some((tag.name.clone(), 1));
                return true;
            }
            None => {}
        }
        false
    }
}

fn attribute<'a>(attributes: &'a [Attribute], name: &LocalName) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.name.local == *name).map(|attribute| &*attribute.value)
}

fn is_main(name: &LocalName) -> bool {
    matches!(*name, local_name!("main") | local_name!("article"))
}

fn is_no_text(tag: &Tag) -> bool {
    let of = |name: &LocalName, value: &str| attribute(&tag.attrs, name).is_some_and(|given| given == value);
    match tag.name {
        local_name!("script") | local_name!("style") | local_name!("nav") | local_name!("template") => true,
        local_name!("svg") | local_name!("iframe") => true,
        // The sign that Sphinx and others set behind each heading.
        local_name!("a") => of(&local_name!("class"), "headerlink"),
        // These have no end.
        local_name!("input") | local_name!("img") | local_name!("br") | local_name!("hr") | local_name!("meta") => {
            false
        }
        local_name!("link") | local_name!("area") | local_name!("base") | local_name!("col") | local_name!("wbr") => {
            false
        }
        _ => of(&local_name!("role"), "navigation"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Format, sections};

    fn shown(text: &str) -> Vec<(String, Vec<String>)> {
        let found = sections(Format::Html, text).unwrap().1;
        let blocks = |blocks: Vec<crate::Block>| blocks.into_iter().map(|block| block.text).collect();
        found.into_iter().map(|section| (section.heading, blocks(section.blocks))).collect()
    }

    fn one(text: &str) -> Vec<String> {
        shown(text).into_iter().flat_map(|(_, blocks)| blocks).collect()
    }

    #[test]
    fn headings_become_paths_and_what_is_no_text_is_left_out() {
        let page = "<!doctype html><html><head><title>Site</title><style>p{}</style><script>if (a<b) '<p>x'</script></head>\
            <body><nav><ul><li>Home<nav>more</nav></ul></nav><h1>The <em>A3</em> event<a class=headerlink href=#x>¶</a></h1>\
            <p>One &amp; two<br>lines.<p>Two.<h2>Offset</h2><div role=navigation><div>up</div></div>Three <b>bold</b>.\
            <!-- no --><svg><text>no</text></svg><img alt='A cell' src=x></body></html>";
        assert_eq!(sections(Format::Html, page).unwrap().0.as_deref(), Some("The A3 event"));
        let found = shown(page);
        let blocks = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                ("The A3 event".to_owned(), blocks(&["One & two\nlines.", "Two."])),
                ("The A3 event > Offset".to_owned(), blocks(&["Three bold. A cell"])),
            ]
        );
        assert_eq!(sections(Format::Html, "<title>Only</title><p>x").unwrap().0.as_deref(), Some("Only"));
    }

    #[test]
    fn a_script_that_ends_itself_and_a_title_that_nothing_began_take_no_text() {
        let page =
            "<html><head><title/><script src='x'/></head><body><h1>Cell</h1><p>Hello</title> world</p></body></html>";
        assert_eq!(shown(page), [("Cell".to_owned(), vec!["Hello world".to_owned()])]);
    }

    #[test]
    fn tables_lists_and_code_are_whole() {
        let table = "<table><caption>Ports</caption><tr><th>Name<th>Port<tr><td>a <table><tr><td>in</td></tr></table>\
            <td>1</table>";
        assert_eq!(one(table), ["Ports\n| Name | Port |\n| a in | 1 |"]);
        let list = "<ol><li>One<ul><li>inner<li><p>more</ul><li>Two<pre>x\n  y</pre></ol><dl><dt>a<dd>b</dl>";
        assert_eq!(one(list), ["1. One\n  - inner\n  - more\n2. Two\nx\n  y", "a\n  b"]);
        assert_eq!(
            one("<p>Run<pre class=x>\nmake &lt;all&gt;\n\n  <b>now</b>\n</pre>then"),
            ["Run", "```\nmake <all>\n\n  now\n```", "then"]
        );
        assert_eq!(one("<pre>a ``` b</pre>"), ["````\na ``` b\n````"]);
        assert_eq!(one("<blockquote><p>Said.<p>More.</blockquote>x"), ["Said.\nMore.", "x"]);
    }

    #[test]
    fn pages_that_are_laid_out_in_tables_or_badly_closed_keep_their_headings_and_words() {
        let old = "<table><tr><td>top<h2>Alarms</h2><p>Lost link.</td></tr></table><h3>Severe<p>Act.";
        let shown: Vec<_> =
            shown(old).into_iter().map(|(heading, blocks)| format!("{heading}: {}", blocks.join(" "))).collect();
        assert_eq!(shown, [": | top |", "Alarms: Lost link.", "Alarms > Severe: Act."]);
        assert_eq!(one("<nav>menu<main>Text.</main>"), ["Text."]);
        assert_eq!(one("<h1>Alone"), ["Alone"]);
        assert_eq!(one("<title>never closed"), ["never closed"]);
        assert_eq!(one("</td></tr></table></ul></li></h2>x"), ["x"]);
        let deep = "<ul><li>x".repeat(40_000);
        let found = one(&deep);
        assert!(found.iter().map(String::len).sum::<usize>() < deep.len() * 4, "no text grows with its depth");
    }
}
