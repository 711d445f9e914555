//! Where the walk through a page stands: the run of text that is being gathered, and what it stands in.

use crate::part::Parts;
use html5ever::{LocalName, local_name};
use model::{Error, Result};

/// Deeper lists are not indented more: an indentation that grows with the depth would make a small page a huge text.
const INDENTED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Page {
    parts: Parts,
    failed: Option<Error>,
    /// The run of text, white space put together unless it is code.
    text: String,
    heading: Option<u8>,
    /// In the page's title.
    title: bool,
    code: usize,
    /// Lists that stand open, with the next number of those that count.
    lists: Vec<Option<u32>>,
    /// Before the next line of a list.
    mark: String,
    /// Lists and quotations at the outermost level, line by line.
    lines: String,
    quotes: usize,
    table: Table,
}

#[derive(Debug, Default)]
struct Table {
    depth: usize,
    row: Vec<String>,
    cell: Option<String>,
    rows: Vec<String>,
}

impl Page {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, ..Self::default() }
    }

    pub(super) fn finished(mut self) -> Result<Parts> {
        self.title = false;
        self.breaks_heading();
        self.flush();
        self.leave();
        self.failed.map_or(Ok(self.parts), Err)
    }

    pub(super) fn text(&mut self, text: &str) {
        if self.failed.is_some() {
            return;
        }
        if self.code > 0 {
            self.text.push_str(text);
            return;
        }
        for character in text.chars() {
            match character.is_whitespace() {
                true if self.text.is_empty() || self.text.ends_with([' ', '\n']) => {}
                true => self.text.push(' '),
                false => self.text.push(character),
            }
        }
    }

    pub(super) fn start(&mut self, name: &LocalName, alternative: Option<&str>) {
        if let Some(level) = level(name) {
            self.heading_starts(level);
            return;
        }
        match *name {
            local_name!("img") => alternative.into_iter().for_each(|words| self.text(&format!(" {words} "))),
            local_name!("br") if self.code > 0 || self.heading.is_none() => self.text.push('\n'),
            local_name!("br") => self.text.push(' '),
            local_name!("title") => {
                self.flush();
                self.title = true;
            }
            local_name!("pre") | local_name!("xmp") | local_name!("listing") => {
                self.breaks_heading();
                self.flush();
                self.code += 1;
            }
            local_name!("table") => {
                self.breaks_heading();
                self.flush();
                self.table.depth += 1;
            }
            local_name!("tr") => self.row_ends(),
            local_name!("td") | local_name!("th") => self.cell_starts(),
            local_name!("ul") | local_name!("menu") | local_name!("dl") => self.list_starts(None),
            local_name!("ol") => self.list_starts(Some(1)),
            local_name!("li") => self.item_starts(),
            local_name!("dd") if !self.lists.is_empty() => {
                self.flush();
                self.mark = "  ".into();
            }
            local_name!("blockquote") => {
                self.breaks_heading();
                self.flush();
                self.quotes += 1;
            }
            local_name!("p") => {
                self.breaks_heading();
                self.flush();
            }
            _ if is_block(name) => self.flush(),
            _ => {}
        }
    }

    pub(super) fn end(&mut self, name: &LocalName) {
        if level(name).is_some() {
            self.heading_ends();
            return;
        }
        match *name {
            // One that nothing began ends nothing.
            local_name!("title") if !self.title => {}
            local_name!("title") => {
                self.parts.named(&std::mem::take(&mut self.text));
                self.title = false;
            }
            local_name!("pre") | local_name!("xmp") | local_name!("listing") => {
                self.flush();
                self.code = self.code.saturating_sub(1);
            }
            local_name!("td") | local_name!("th") => self.cell_ends(),
            local_name!("tr") => self.row_ends(),
            local_name!("table") => self.table_ends(),
            local_name!("ul") | local_name!("ol") | local_name!("menu") | local_name!("dl") => {
                self.flush();
                self.lists.pop();
                self.leave_lines();
            }
            local_name!("blockquote") => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
                self.leave_lines();
            }
            _ if is_block(name) => self.flush(),
            _ => {}
        }
    }

    /// The run of text ends: it is a block, or goes to what it stands in.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        if self.title {
            self.text = text;
            return;
        }
        if self.heading.is_some() {
            // A block in a heading: its words are the heading's.
            self.text = if text.trim().is_empty() { String::new() } else { text + " " };
            return;
        }
        let code = self.code > 0;
        if text.trim().is_empty() {
            return;
        }
        if let Some(cell) = &mut self.table.cell {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            cell.push_str(if cell.is_empty() { "" } else { " " });
            cell.push_str(&words);
        } else if self.table.depth > 0 {
            // A caption, or text between rows.
            self.table.rows.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if !self.lists.is_empty() || self.quotes > 0 {
            self.line(if code { text.trim_matches('\n') } else { text.trim() });
        } else if code {
            self.parts.whole(&fenced("", &text));
        } else {
            self.parts.paragraph(&text);
        }
    }

    fn line(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push('\n');
        }
        let depth = self.lists.len().saturating_sub(1).min(INDENTED);
        self.lines.push_str(&"  ".repeat(depth));
        self.lines.push_str(&std::mem::take(&mut self.mark));
        self.lines.push_str(text);
    }

    fn heading_starts(&mut self, level: u8) {
        self.heading_ends();
        self.flush();
        // Headings in tables and lists are how old pages are laid out: what holds them is no table and no list.
        self.leave();
        self.heading = Some(level);
    }

    fn heading_ends(&mut self) {
        let Some(level) = self.heading.take() else { return self.flush() };
        let words = std::mem::take(&mut self.text);
        if !words.trim().is_empty()
            && let Err(error) = self.parts.heading(level, &words)
        {
            self.failed.get_or_insert(error);
        }
    }

    /// What stands open ends: its text is told.
    fn leave(&mut self) {
        self.rows_end();
        self.table = Table::default();
        self.lists.clear();
        self.quotes = 0;
        self.leave_lines();
    }

    fn leave_lines(&mut self) {
        if self.lists.is_empty() && self.quotes == 0 {
            self.parts.whole(&std::mem::take(&mut self.lines));
            self.mark.clear();
        }
    }

    fn list_starts(&mut self, numbers: Option<u32>) {
        self.breaks_heading();
        self.flush();
        self.lists.push(numbers);
    }

    fn item_starts(&mut self) {
        self.flush();
        self.mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}. ", *number - 1)
            }
            _ => "- ".into(),
        };
    }

    /// A heading that nobody closed.
    fn breaks_heading(&mut self) {
        if self.heading.is_some() && !self.text.trim().is_empty() {
            self.heading_ends();
        }
    }

    fn cell_starts(&mut self) {
        if self.table.depth == 1 {
            self.cell_ends();
            self.table.cell = Some(String::new());
        } else {
            self.flush();
        }
    }

    fn cell_ends(&mut self) {
        self.flush();
        if self.table.depth == 1
            && let Some(cell) = self.table.cell.take()
        {
            self.table.row.push(cell);
        }
    }

    fn row_ends(&mut self) {
        self.cell_ends();
        if self.table.depth == 1 {
            self.rows_end_one();
        }
    }

    fn rows_end_one(&mut self) {
        self.table.row.extend(self.table.cell.take());
        let row = std::mem::take(&mut self.table.row);
        if row.iter().any(|cell| !cell.is_empty()) {
            self.table.rows.push(format!("| {} |", row.join(" | ")));
        }
    }

    fn rows_end(&mut self) {
        self.rows_end_one();
        let rows = std::mem::take(&mut self.table.rows).join("\n");
        if !rows.is_empty() && (!self.lists.is_empty() || self.quotes > 0) {
            self.line(&rows);
        } else {
            self.parts.whole(&rows);
        }
    }

    fn table_ends(&mut self) {
        self.flush();
        self.table.depth = self.table.depth.saturating_sub(1);
        if self.table.depth == 0 {
            self.rows_end();
        }
    }
}

/// Code between fences that it does not hold itself.
pub(crate) fn fenced(language: &str, code: &str) -> String {
    let longest = code.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", code.trim_matches('\n').trim_end())
}

fn level(name: &LocalName) -> Option<u8> {
    Some(match *name {
        local_name!("h1") => 1,
        local_name!("h2") => 2,
        local_name!("h3") => 3,
        local_name!("h4") => 4,
        local_name!("h5") => 5,
        local_name!("h6") => 6,
        _ => return None,
    })
}

fn is_block(name: &LocalName) -> bool {
    const BLOCKS: [&str; 37] = [
        "address",
        "article",
        "aside",
        "body",
        "button",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "option",
        "p",
        "search",
        "section",
        "select",
        "summary",
        "tbody",
        "textarea",
        "tfoot",
        "thead",
        "head",
        "label",
    ];
    BLOCKS.contains(&&**name)
}
