//! The documentation against what it documents.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use kboot::preflight::Check;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn every_preflight_check_is_documented_and_no_other() {
    let documented = first_column("docs/preflight.md");
    let checks: BTreeSet<String> = Check::all().map(|check| check.to_string()).collect();
    assert_eq!(documented, checks);
}

#[test]
fn every_step_is_documented_and_no_other() {
    let documented = first_column("docs/files.md");
    let steps: BTreeSet<String> = kboot::steps::names().map(String::from).collect();
    assert_eq!(documented, steps);
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = read(&page);
        let folder = page.parent().unwrap();
        for target in links(&text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(file.exists(), "{page} leads to {target}, which is not there");
            if !anchor.is_empty() {
                assert!(headings(&read(&file)).contains(anchor), "{page} leads to {target}, which has no such heading");
            }
        }
    }
}

#[test]
fn what_a_page_shows_of_the_repository_is_there() {
    let makefile = read(&Utf8Path::new(ROOT).join("Makefile"));
    for page in pages() {
        let text = read(&page);
        for word in words_after(&text, "make ") {
            // A target begins a command or a code span; "make sure" is no target.
            let is_target = makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
            assert!(is_target, "{page} names `make {word}`, which the Makefile does not have");
        }
    }
}

/// The code spans that begin the rows of a page's tables.
fn first_column(page: &str) -> BTreeSet<String> {
    let text = read(&Utf8Path::new(ROOT).join(page));
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names: Vec<String> = cells.map(|(name, _)| name.to_string()).collect();
    let unique: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(unique.len(), names.len(), "{page} has a row twice");
    unique
}

fn pages() -> Vec<Utf8PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "tests/testbed"] {
        let entries = Utf8Path::new(ROOT).join(folder).read_dir_utf8().unwrap();
        let paths = entries.map(|entry| entry.unwrap().into_path());
        pages.extend(paths.filter(|path| path.extension() == Some("md")));
    }
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

fn read(path: &Utf8Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// As GitHub makes anchors of them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |title: &str| {
        let kept = title.to_lowercase();
        kept.chars().filter(|c| c.is_alphanumeric() || "- ".contains(*c)).collect::<String>().replace(' ', "-")
    };
    titles.map(anchor).collect()
}

/// The word that follows `prefix` where that begins a code span or an indented line.
fn words_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let spans = text.split('`').skip(1).step_by(2);
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    spans
        .chain(lines)
        .filter_map(|code| code.strip_prefix(prefix))
        .filter_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '-')).next())
        .collect()
}
