//! One failure, for a person: where, why, what shows it, and what mends it.

use super::page::{Line, Page, Style};
use super::{Verbosity, clean};
use crate::engine::{Failure, Hint};

/// How many lines of evidence are shown, unless in verbose mode: the last ones, since logs end with what went wrong.
const MOST_EVIDENCE: usize = 40;

/// The end of a command that failed: `error: n2: install-packages: failed to …`, the evidence below it, and `hint: …`.
/// `place` is what leads to the failure, as host and step; empty parts are left out.
pub fn render(place: &[&str], failure: &Failure, verbosity: Verbosity, color: bool) -> String {
    error(place, failure, verbosity).render(color)
}

pub(super) fn error(place: &[&str], failure: &Failure, verbosity: Verbosity) -> Page {
    let mut head = Line::of(Style::Bad, "error:").text(" ");
    for part in place.iter().filter(|part| !part.is_empty()) {
        head = head.add(Style::Strong, part).text(": ");
    }
    let mut page = Page::new();
    let mut cause = clean::lines(&failure.cause.to_string()).into_iter();
    page.push(head.text(cause.next().unwrap_or_default()));
    for line in cause {
        page.push(Line::plain(format!("  {line}")));
    }
    for line in evidence(failure, verbosity) {
        page.push(Line::of(Style::Faint, format!("    {line}")));
    }
    if let Some(found) = &failure.hint {
        page.append(hint(found));
    }
    page
}

/// `hint: …`, further lines below the first one's text.
pub(super) fn hint(hint: &Hint) -> Page {
    let mark = |at: usize| if at == 0 { Line::of(Style::Good, "  hint:").text(" ") } else { Line::plain("        ") };
    clean::lines(&hint.to_string()).iter().enumerate().map(|(at, line)| mark(at).text(line)).collect()
}

fn evidence(failure: &Failure, verbosity: Verbosity) -> Vec<String> {
    let mut lines: Vec<String> = failure.evidence.iter().flat_map(|line| clean::lines(line)).collect();
    if verbosity != Verbosity::Verbose && lines.len() > MOST_EVIDENCE + 1 {
        let earlier = lines.len() - MOST_EVIDENCE;
        lines.splice(..earlier, [format!("… {earlier} earlier lines")]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Failure {
        Failure::new("install kubelet: apt-get exited with 100")
            .evidence(["E: Unable to fetch \x1b[31msome\x1b[0m archives", "E: 404\nE: Not Found"])
            .hint_text("see whether the repository answers:\ncurl -I https://pkgs.k8s.io/")
            .context("prepare the host")
    }

    #[test]
    fn a_failure_tells_place_cause_evidence_and_hint() {
        insta::assert_snapshot!(render(&["n2", "", "install-packages"], &full(), Verbosity::Normal, false));
    }

    #[test]
    fn a_bare_failure_is_one_line() {
        let failure = Failure::new("no such file: inventory.yaml");
        assert_eq!(render(&[], &failure, Verbosity::Normal, false), "error: no such file: inventory.yaml\n");
    }

    #[test]
    fn colours_are_only_ours() {
        let shown = render(&["n\x1b[2J2"], &full(), Verbosity::Normal, true);
        let without = ["\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[2m", "\x1b[0m"]
            .iter()
            .fold(shown.clone(), |text, code| text.replace(code, ""));
        assert_ne!(shown, without);
        assert_eq!(without, render(&["n2"], &full(), Verbosity::Normal, false));
    }

    #[test]
    fn the_end_of_long_evidence_is_shown() {
        let failure = Failure::new("x").evidence((1..=100).map(|n| n.to_string()));
        let normal = render(&[], &failure, Verbosity::Normal, false);
        assert!(normal.starts_with("error: x\n    … 60 earlier lines\n    61\n"), "{normal}");
        assert!(normal.ends_with("    100\n"));
        assert_eq!(render(&[], &failure, Verbosity::Verbose, false).lines().count(), 101);
    }

    proptest! {
        #[test]
        fn no_bytes_from_a_host_become_control_characters(
            cause in any::<Vec<u8>>(),
            evidence in proptest::collection::vec(any::<Vec<u8>>(), 0..5),
            hint in any::<Vec<u8>>(),
            name in any::<Vec<u8>>(),
        ) {
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            let failure = Failure::new(text(&cause)).evidence(evidence.iter().map(text)).hint_text(text(&hint));
            let shown = render(&[&text(&name)], &failure, Verbosity::Verbose, false);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}
