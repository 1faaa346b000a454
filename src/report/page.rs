//! Text with styles, on its way to a person. All text is cleaned as it is added, so that no caller can forget to.
//!
//! Knows nothing of events, and nothing of where the page is shown.

use super::clean;

/// What a piece of text is, rather than its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// What the eye should find: hosts, headings.
    Strong,
    /// What it may pass over.
    Faint,
    Good,
    /// Something changed, or a person should know.
    Notable,
    Bad,
    /// Where in a file a part of a diff is.
    Position,
}

impl Style {
    /// The parameter of "select graphic rendition" (ECMA-48).
    fn code(self) -> Option<&'static str> {
        match self {
            Style::Plain => None,
            Style::Strong => Some("1"),
            Style::Faint => Some("2"),
            Style::Good => Some("32"),
            Style::Notable => Some("33"),
            Style::Bad => Some("31"),
            Style::Position => Some("36"),
        }
    }
}

/// One line of styled text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    spans: Vec<(Style, String)>,
}

impl Line {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn of(style: Style, text: impl AsRef<str>) -> Self {
        Self::new().add(style, text)
    }

    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::of(Style::Plain, text)
    }

    pub fn add(mut self, style: Style, text: impl AsRef<str>) -> Self {
        self.spans.push((style, clean::line(text.as_ref())));
        self
    }

    pub fn text(self, text: impl AsRef<str>) -> Self {
        self.add(Style::Plain, text)
    }

    /// Adds text filled up with spaces to a width.
    pub fn padded(self, style: Style, text: impl AsRef<str>, width: usize) -> Self {
        let text = clean::line(text.as_ref());
        let padding = " ".repeat(width.saturating_sub(console::measure_text_width(&text)));
        self.add(style, text).text(padding)
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|(_, text)| console::measure_text_width(text)).sum()
    }

    /// The same line cut to a number of columns, with an ellipsis where something is missing.
    pub fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width;
        let mut spans = Vec::new();
        for (style, text) in self.spans {
            let wide = console::measure_text_width(&text);
            if wide < left {
                left -= wide;
                spans.push((style, text));
                continue;
            }
            // A span that fits exactly has something after it, so its last column goes to the ellipsis too.
            let kept = console::truncate_str(&text, left.saturating_sub(1), "").into_owned();
            spans.push((style, if left == 0 { String::new() } else { kept + "…" }));
            break;
        }
        Self { spans }
    }

    pub fn render(&self, color: bool) -> String {
        let mut shown = String::new();
        for (style, text) in &self.spans {
            match style.code().filter(|_| color && !text.is_empty()) {
                Some(code) => shown.push_str(&format!("\x1b[{code}m{text}\x1b[0m")),
                None => shown.push_str(text),
            }
        }
        shown
    }

    fn indented(mut self, columns: usize) -> Self {
        if !self.spans.iter().all(|(_, text)| text.is_empty()) {
            self.spans.insert(0, (Style::Plain, " ".repeat(columns)));
        }
        self
    }
}

/// Lines of styled text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    lines: Vec<Line>,
}

impl Page {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub fn append(&mut self, page: Page) {
        self.lines.extend(page.lines);
    }

    pub fn append_indented(&mut self, columns: usize, page: Page) {
        self.lines.extend(page.lines.into_iter().map(|line| line.indented(columns)));
    }

    /// Keeps the first lines, and says how many are missing after them.
    pub fn cut(&mut self, most: usize) {
        // One line more costs no more than the line that would say so.
        if self.lines.len() > most + 1 {
            let missing = self.lines.len() - most;
            self.lines.truncate(most);
            self.push(Line::of(Style::Faint, format!("… {missing} more lines")));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Each line with a line break after it.
    pub fn render(&self, color: bool) -> String {
        self.lines.iter().map(|line| line.render(color) + "\n").collect()
    }
}

impl FromIterator<Line> for Page {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        Self { lines: lines.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_there_when_asked_for() {
        let line = Line::of(Style::Bad, "error").text(": \x1b[5mx");
        assert_eq!(line.render(false), "error: x");
        assert_eq!(line.render(true), "\x1b[31merror\x1b[0m: x");
    }

    #[test]
    fn a_line_is_cut_to_columns_not_bytes() {
        let line = Line::of(Style::Strong, "äöü").text("漢字 and more");
        assert_eq!(line.clone().cut(6).render(false), "äöü漢…");
        assert_eq!(line.clone().cut(3).render(false), "äö…");
        assert_eq!(line.clone().cut(0).render(false), "");
        assert_eq!(line.clone().cut(16), line);
        for width in 0..20 {
            assert!(line.clone().cut(width).width() <= width, "cut to {width}");
        }
    }

    #[test]
    fn a_page_is_cut_with_a_count() {
        let mut page: Page = (0..10).map(|i| Line::plain(i.to_string())).collect();
        page.cut(3);
        assert_eq!(page.render(false), "0\n1\n2\n… 7 more lines\n");
        let mut page: Page = (0..4).map(|i| Line::plain(i.to_string())).collect();
        page.cut(3);
        assert_eq!(page.render(false), "0\n1\n2\n3\n");
    }

    #[test]
    fn an_empty_line_is_not_indented() {
        let mut page = Page::new();
        page.append_indented(2, [Line::plain("a"), Line::new()].into_iter().collect());
        assert_eq!(page.render(false), "  a\n\n");
    }
}
