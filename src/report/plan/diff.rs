//! Texts compared line by line, as a unified diff with three lines around each change.

use similar::{ChangeTag, TextDiff};

use super::{Line, Page, Style};

/// Lines around a change.
const CONTEXT: usize = 3;

/// A new text: all of it as added lines.
pub(super) fn added(text: &str) -> Page {
    let mut page: Page = text.lines().map(|line| Line::of(Style::Good, format!("+{line}"))).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        page.push(no_line_break());
    }
    page
}

/// What differs, in hunks. No file header: the change's own line names the file.
pub(super) fn page(before: &str, after: &str) -> Page {
    let diff = TextDiff::from_lines(before, after);
    let mut page = Page::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        page.push(Line::of(Style::Position, hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let (mark, style) = match change.tag() {
                ChangeTag::Insert => ('+', Style::Good),
                ChangeTag::Delete => ('-', Style::Bad),
                ChangeTag::Equal => (' ', Style::Plain),
            };
            page.push(Line::of(style, format!("{mark}{}", change.value().trim_end_matches(['\r', '\n']))));
            if !change.value().ends_with('\n') {
                page.push(no_line_break());
            }
        }
    }
    page
}

fn no_line_break() -> Line {
    Line::of(Style::Faint, "\\ no line break at the end of the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_three_lines_around_it() {
        let before: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let after = before.replace("line 2\n", "").replace("line 15\n", "line 15\nline 15 and a half\n");
        insta::assert_snapshot!(page(&before, &after).render(false));
    }

    #[test]
    fn a_missing_line_break_is_told() {
        assert_eq!(added("a\nb").render(false), "+a\n+b\n\\ no line break at the end of the file\n");
        assert_eq!(added("a\n").render(false), "+a\n");
        assert_eq!(added("").render(false), "");
        insta::assert_snapshot!(page("a\nb", "a\nb\n").render(false));
    }

    #[test]
    fn escapes_in_files_are_neutralised() {
        assert_eq!(added("\x1b[2Jx\ty\r\n").render(true), "\x1b[32m+x    y\x1b[0m\n");
        assert!(page("a\x1b[1m\n", "b\x1b[1m\n").render(false).ends_with("-a\n+b\n"));
    }
}
