//! Files that playbooks are made of, and what is wrong with them, each mistake at its place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::inventory::reading::{Node, quote_path, reason};
use crate::inventory::{Mistake, Mistakes, Path};

/// A file that was read.
#[derive(Debug)]
pub struct Source {
    /// As messages call it.
    pub origin: Utf8PathBuf,
    pub text: String,
    /// None for what is no playbook but a file beside one.
    pub node: Option<Node>,
    /// Values that were left out since they are wrong, which has been told.
    pub broken: Vec<Path>,
}

/// A value of a playbook.
#[derive(Debug, Clone)]
pub struct Place {
    pub source: Arc<Source>,
    pub path: Path,
}

impl Place {
    pub fn key(&self, key: &str) -> Self {
        Self { path: self.path.key(key), ..self.clone() }
    }

    pub fn index(&self, index: usize) -> Self {
        Self { path: self.path.index(index), ..self.clone() }
    }

    /// Whether one of these fields was left out since it is wrong, which has been told.
    pub fn lost(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.source.broken.contains(&self.path.key(field)))
    }

    pub fn span(&self) -> Range<usize> {
        self.source.node.as_ref().map_or(0..0, |node| node.locate(&self.path, false))
    }

    /// The place of a part of the value's text, `range` of `text`, in the file. Escapes and indentation are no matter to the part.
    pub fn part(&self, text: &str, range: &Range<usize>) -> Range<usize> {
        let whole = self.span();
        let Some(part) = text.get(range.clone()).filter(|part| !part.trim().is_empty()) else { return whole };
        let before = text[..range.start].matches(part).count();
        let written = self.source.text.get(whole.clone()).unwrap_or_default();
        match written.match_indices(part).nth(before) {
            Some((offset, _)) => whole.start + offset..whole.start + offset + part.len(),
            None => whole,
        }
    }
}

/// Mistakes as they are found.
#[derive(Default)]
pub struct Findings {
    list: Vec<(Arc<Source>, Mistake)>,
}

impl Findings {
    /// Tells a mistake about a value, unless that was left out because of another.
    pub fn add(&mut self, place: &Place, message: impl Into<String>, hint: Option<String>) {
        self.add_at(place, place.span(), message, hint);
    }

    pub fn add_at(&mut self, place: &Place, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        if place.source.broken.iter().any(|broken| place.path.is_within(broken)) {
            return;
        }
        let mistake = Mistake::new(place.path.clone(), message).maybe_hint(hint).at(span);
        self.push(&place.source, mistake);
    }

    /// The same mistake is told once.
    pub fn push(&mut self, source: &Arc<Source>, mistake: Mistake) {
        if !self.list.iter().any(|(known, told)| known.origin == source.origin && *told == mistake) {
            self.list.push((source.clone(), mistake));
        }
    }

    pub fn extend(&mut self, source: &Arc<Source>, mistakes: impl IntoIterator<Item = Mistake>) {
        mistakes.into_iter().for_each(|mistake| self.push(source, mistake));
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether something is wrong with the value or inside it.
    pub fn has_within(&self, place: &Place) -> bool {
        let is_inside = |(source, mistake): &(Arc<Source>, Mistake)| {
            Arc::ptr_eq(source, &place.source) && mistake.path.is_within(&place.path)
        };
        self.list.iter().any(is_inside)
    }

    /// Takes over what was found for each of several hosts. What is wrong on some of them only is told with their names.
    pub fn absorb(&mut self, found: Vec<(&str, Self)>) {
        let all = found.len();
        let mut by_mistake: Vec<(Arc<Source>, Mistake, Vec<&str>)> = Vec::new();
        for (host, findings) in found {
            for (source, mistake) in findings.list {
                match by_mistake.iter_mut().find(|(known, told, _)| Arc::ptr_eq(known, &source) && *told == mistake) {
                    Some((_, _, hosts)) => hosts.push(host),
                    None => by_mistake.push((source, mistake, vec![host])),
                }
            }
        }
        for (source, mut mistake, hosts) in by_mistake {
            if hosts.len() < all {
                mistake.message += &format!(" (on {})", hosts.join(", "));
            }
            self.push(&source, mistake);
        }
    }

    pub fn result(self) -> Result<(), PlaybookError> {
        let mut files: Vec<(Arc<Source>, Vec<Mistake>)> = Vec::new();
        for (source, mistake) in self.list {
            match files.iter_mut().find(|(known, _)| known.origin == source.origin) {
                Some((_, mistakes)) => mistakes.push(mistake),
                None => files.push((source, vec![mistake])),
            }
        }
        match files.is_empty() {
            true => Ok(()),
            false => {
                let told = files.into_iter().map(|(source, list)| Mistakes::new(&source.origin, &source.text, list));
                Err(PlaybookError::Invalid(told.collect()))
            }
        }
    }
}

/// Why a playbook can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    #[error("failed to read the playbook {path}: {why}")]
    Unreadable { path: Utf8PathBuf, why: String },
    /// By file.
    #[error("{}", Reports(.0))]
    Invalid(Vec<Mistakes>),
}

impl PlaybookError {
    /// Each mistake in one line, and how it is mended.
    pub fn causes(&self) -> Vec<(String, Option<String>)> {
        match self {
            Self::Unreadable { .. } => vec![(self.to_string(), None)],
            Self::Invalid(files) => files
                .iter()
                .flat_map(|mistakes| mistakes.iter().map(move |mistake| (mistakes, mistake)))
                .map(|(mistakes, mistake)| (mistakes.line(mistake), mistake.hints.first().map(ToString::to_string)))
                .collect(),
        }
    }
}

struct Reports<'a>(&'a [Mistakes]);

impl fmt::Display for Reports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistakes) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{mistakes}")?;
        }
        Ok(())
    }
}

/// Larger than any file that people write by hand.
const LARGEST: u64 = 4 << 20;

/// A file's bytes; why not, in words.
pub fn read(path: &Utf8Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| reason(&error))?.len();
    if size > LARGEST {
        return Err(format!("it has more than {} MiB", LARGEST >> 20));
    }
    std::fs::read(path).map_err(|error| reason(&error))
}

/// A file beside a playbook. None if it can't be read, which becomes one of the findings.
pub(super) fn beside(
    name: &str,
    place: &Place,
    folder: Option<&Utf8Path>,
    findings: &mut Findings,
) -> Option<(Arc<Source>, Vec<u8>)> {
    let path = folder?.join(name);
    match read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Some((Arc::new(Source { origin: path, text, node: None, broken: Vec::new() }), bytes))
        }
        Err(why) => {
            let hint = "a path is relative to the playbook's folder".to_string();
            findings.add(place, format!("failed to read {}: {why}", quote_path(path.as_str())), Some(hint));
            None
        }
    }
}
