//! Words, lines and paragraphs, told from where runs of glyphs stand.

/// A string that was drawn: from where to where along its line, and where that line is.
pub(super) struct Run {
    direction: (f32, f32),
    from: f32,
    to: f32,
    across: f32,
    height: f32,
}

impl Run {
    /// Before and after it was drawn.
    pub(super) fn new(from: &[f32; 6], to: &[f32; 6], height: f32) -> Self {
        let length = from[0].hypot(from[1]);
        let direction = if length > 0.0 { (from[0] / length, from[1] / length) } else { (1.0, 0.0) };
        let along = |at: &[f32; 6]| at[4] * direction.0 + at[5] * direction.1;
        let across = from[5] * direction.0 - from[4] * direction.1;
        Self { direction, from: along(from), to: along(to), across, height }
    }
}

#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    direction: (f32, f32),
    from: f32,
    to: f32,
    across: f32,
    height: f32,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) lines: Vec<Line>,
    /// Glyphs whose characters nobody knows.
    pub(super) unread: usize,
}

impl Page {
    pub(super) fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.text.len()).sum()
    }

    pub(super) fn put(&mut self, text: &str, run: &Run) {
        let mut clean = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '\u{fffd}' => self.unread += 1,
                '\u{fb00}' => clean.push_str("ff"),
                '\u{fb01}' => clean.push_str("fi"),
                '\u{fb02}' => clean.push_str("fl"),
                '\u{fb03}' => clean.push_str("ffi"),
                '\u{fb04}' => clean.push_str("ffl"),
                '\u{ad}' | '\u{feff}' => {}
                _ if character.is_control() || character.is_whitespace() => clean.push(' '),
                _ => clean.push(character),
            }
        }
        if clean.is_empty() {
            return;
        }
        match self.lines.last_mut() {
            Some(line) if line.goes_on_with(run) => line.add(&clean, run),
            // White space between lines is none of them.
            _ if clean.trim().is_empty() => {}
            _ => self.lines.push(Line {
                text: clean,
                direction: run.direction,
                from: run.from,
                to: run.to,
                across: run.across,
                height: run.height,
            }),
        }
    }

    /// The number of the first line of each paragraph.
    pub(super) fn paragraphs(&self) -> Vec<usize> {
        let lines = &self.lines;
        let mut drops: Vec<f32> = lines.windows(2).filter_map(|pair| pair[1].below(&pair[0])).collect();
        drops.sort_by(f32::total_cmp);
        let usual = drops.get(drops.len() / 3).copied().unwrap_or(0.0);
        let begins = |at: &usize| {
            let (above, line) = (&lines[*at - 1], &lines[*at]);
            let Some(drop) = line.below(above) else { return true };
            let far = drop > usual * 1.3 || drop > line.height * 2.5;
            let other = (line.height - above.height).abs() > above.height * 0.15;
            far || other || line.from > above.from + line.height * 0.8
        };
        (0..lines.len()).filter(|at| *at == 0 || begins(at)).collect()
    }
}

impl Line {
    fn goes_on_with(&self, run: &Run) -> bool {
        self.direction == run.direction && (self.across - run.across).abs() <= self.height.max(run.height) * 0.5
    }

    fn add(&mut self, text: &str, run: &Run) {
        let gap = run.from - self.to;
        // Nearer than a seventh of its height letters belong together; what is drawn before the end is another word.
        let apart = gap > run.height * 0.15 || gap < -run.height;
        if apart && !self.text.ends_with(' ') && !text.starts_with(' ') {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self.to = run.to;
        self.height = self.height.max(run.height);
    }

    /// How far below another line, if it is below it.
    fn below(&self, above: &Self) -> Option<f32> {
        let drop = above.across - self.across;
        (drop > 0.0 && self.direction == above.direction).then_some(drop)
    }
}

/// Lines of a paragraph as one text. A word that was parted at the end of a line is whole again.
pub(super) fn joined<'l>(lines: impl Iterator<Item = &'l str>) -> String {
    let mut text = String::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        let parted = text.strip_suffix('-').is_some_and(|word| word.ends_with(char::is_lowercase))
            && line.starts_with(char::is_lowercase);
        if parted {
            text.pop();
        } else if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(line);
    }
    text
}
