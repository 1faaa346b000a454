//! Mistakes in a file that people write, and how a person reads them: all at once, each with its place in the file.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use miette::{LabeledSpan, NamedSource, SourceCode};

use super::advice::Advice;
use super::path::Path;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What it is about, as `hosts[2].address`; empty for the file as a whole.
    pub path: Path,
    pub message: String,
    /// How it is corrected.
    pub hints: Vec<Advice>,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// Whether to point at the field's name rather than at its value.
    pub(super) about_key: bool,
    /// If the mistake is a field that the schema does not have: the hint's source.
    pub(crate) unknown: Option<UnknownField>,
}

/// Which hint an unknown field gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownField {
    /// A known field of a similar name: "did you mean".
    Similar,
    /// The fields that there are, or where a field of this name is.
    Other,
}

impl Mistake {
    pub(crate) fn new(path: Path, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), hints: Vec::new(), span: 0..0, about_key: false, unknown: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<Advice>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The hints, a line each.
    fn joined_hints(&self) -> String {
        self.hints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn at(mut self, span: Range<usize>) -> Self {
        self.span = span;
        self
    }

    /// Whether it is the field's name that is wrong.
    pub(crate) fn is_about_key(&self) -> bool {
        self.about_key
    }

    /// Points at the field's name when its place is looked up.
    pub(crate) fn about_key(mut self) -> Self {
        self.about_key = true;
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.steps() {
            [] => f.write_str(&self.message),
            _ => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

impl std::error::Error for Mistake {}

/// Everything that is wrong with one text, in the text's order. Its `Display` is the report that a person reads; it is
/// a [`miette::Diagnostic`], too.
#[derive(Clone)]
pub struct Mistakes {
    origin: Utf8PathBuf,
    text: Arc<str>,
    source: Arc<NamedSource<Arc<str>>>,
    list: Vec<Mistake>,
    /// What the last line counts.
    noun: &'static str,
}

impl Mistakes {
    pub(crate) fn new(origin: &Utf8Path, text: &str, mut list: Vec<Mistake>) -> Self {
        list.sort_by(|a, b| (a.span.start, &a.path).cmp(&(b.span.start, &b.path)));
        let text: Arc<str> = text.into();
        let source = Arc::new(NamedSource::new(origin, text.clone()));
        Self { origin: origin.to_owned(), text, source, list, noun: "mistake" }
    }

    /// What a person should know, though it is no mistake.
    pub(crate) fn warnings(origin: &Utf8Path, text: &str, list: Vec<Mistake>) -> Self {
        Self { noun: "warning", ..Self::new(origin, text, list) }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where a mistake is: line and column, both from 1; columns count characters.
    pub fn position(&self, mistake: &Mistake) -> (usize, usize) {
        position(&self.text, mistake.span.start)
    }

    /// One mistake with its place, as `inventory.yaml:3:7: name: is empty`.
    pub fn line(&self, mistake: &Mistake) -> String {
        let (line, column) = self.position(mistake);
        format!("{}:{line}:{column}: {mistake}", self.origin)
    }

    fn write_one(&self, f: &mut fmt::Formatter<'_>, mistake: &Mistake) -> fmt::Result {
        let (line, _) = self.position(mistake);
        writeln!(f, "{}", self.line(mistake))?;
        let (shown, offset, width) = excerpt(&self.text, &mistake.span);
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "  {number} | {shown}")?;
        writeln!(f, "  {margin} | {}{}", " ".repeat(offset), "^".repeat(width))?;
        for hint in &mistake.hints {
            writeln!(f, "  hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.list {
            self.write_one(f, mistake)?;
            writeln!(f)?;
        }
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(f, "{} {}{plural} in {}", self.list.len(), self.noun, self.origin)
    }
}

impl fmt::Debug for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Mistakes {}

impl miette::Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.hints.is_empty()).then(|| Box::new(self.joined_hints()) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, self.span.clone()))))
    }
}

impl miette::Diagnostic for Mistakes {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|mistake| mistake as &dyn miette::Diagnostic)))
    }
}

/// A file's path as it is shown in a message: in backticks, all of it.
pub(crate) fn quote_path(path: &str) -> String {
    format!("`{}`", path.replace(char::is_control, "\u{fffd}"))
}

/// A value as it is shown in a message: in backticks, on one line, not too long.
pub(crate) fn quote(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = value.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().filter(|&c| c != '\u{feff}').count() + 1)
}

/// The line that a span begins on, the caret's offset in it and its width. Long lines are cut around the caret; what a
/// terminal would act on is replaced.
fn excerpt(text: &str, span: &Range<usize>) -> (String, usize, usize) {
    const BEFORE: usize = 70;
    const AFTER: usize = 50;
    let offset = if text.is_char_boundary(span.start.min(text.len())) { span.start.min(text.len()) } else { 0 };
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    let clean = |part: &str| -> Vec<char> {
        let visible = part.chars().filter(|&c| c != '\u{feff}' && c != '\r');
        visible
            .map(|c| {
                if c == '\t' {
                    ' '
                } else if c.is_control() {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect()
    };
    let marked_end = span.end.clamp(offset, end);
    let marked_end = if text.is_char_boundary(marked_end) { marked_end } else { offset };
    let marked: String = text[offset..marked_end].trim_end().into();
    let (before, after) = (clean(&text[start..offset]), clean(&text[offset..end]));
    let mut shown = String::new();
    let skipped = if before.len() > BEFORE { before.len() - BEFORE / 2 } else { 0 };
    if skipped > 0 {
        shown.push('…');
    }
    shown.extend(&before[skipped..]);
    let caret = shown.chars().count();
    let kept = after.len().min(AFTER.max(BEFORE + AFTER - caret));
    shown.extend(&after[..kept]);
    if kept < after.len() {
        shown.push('…');
    }
    let width = clean(&marked).len().clamp(1, kept.max(1));
    (shown.trim_end().to_owned(), caret, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, span: Range<usize>) -> String {
        let mistake = Mistake::new(Path::of("name"), "is wrong").hint("mend it").at(span);
        Mistakes::new("a.yaml".into(), text, vec![mistake]).to_string()
    }

    #[test]
    fn points_at_the_place() {
        assert_eq!(
            report("kind: Cluster\nname: Ärger! # x\n", 20..27),
            "a.yaml:2:7: name: is wrong\n  2 | name: Ärger! # x\n    |       ^^^^^^\n  hint: mend it\n\n1 mistake in a.yaml"
        );
    }

    #[test]
    fn survives_odd_spans_and_texts() {
        for (text, span) in
            [("", 0..0), ("a", 1..1), ("a", 5..9), ("é", 1..2), ("a\r\nb\n", 3..3), ("\u{feff}a: b", 3..4)]
        {
            assert!(report(text, span).contains("is wrong"));
        }
        assert!(!report("a: \u{1b}[31mred", 3..4).contains('\u{1b}'));
    }

    #[test]
    fn cuts_long_lines() {
        let text = format!("{}: {}", "k".repeat(500), "v".repeat(500));
        let report = report(&text, 502..1002);
        assert!(report.lines().all(|line| line.chars().count() < 140), "{report}");
        assert!(report.contains("…") && report.contains("^^^"), "{report}");
    }

    #[test]
    fn miette_shows_it_too() {
        let mistake = Mistake::new(Path::of("name"), "is wrong").hint("mend it").at(6..9);
        let mistakes = Mistakes::new("a.yaml".into(), "name: one\n", vec![mistake]);
        let mut shown = String::new();
        miette::NarratableReportHandler::new().render_report(&mut shown, &mistakes).unwrap();
        assert!(shown.contains("name: is wrong") && shown.contains("mend it") && shown.contains("line 1"), "{shown}");
    }
}
