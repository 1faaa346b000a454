//! From a file to a [`Cluster`]: reading, the shape, the defaults, the checks, in this order, with all mistakes together.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::check::{self, Findings};
use super::files::{self, Places};
use super::mistake::{Mistake, Mistakes, position, quote};
use super::path::Path;
use super::schema;
use super::shape::shape;
use super::types::*;
use super::yaml::{INVENTORY, Kind, Node, Sort};

/// Larger than an inventory of ten thousand hosts.
const LARGEST: u64 = 8 << 20;

/// An inventory that was read from a file.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Checked, every default filled in, every path absolute.
    pub cluster: Cluster,
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// What a person should know, though it is no mistake; may be empty.
    pub warnings: Mistakes,
}

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("there is no inventory {path}")]
    NotFound { path: Utf8PathBuf },
    #[error("the inventory {path} is a folder, not a file")]
    Directory { path: Utf8PathBuf },
    #[error("the inventory {path} cannot be read: {}", files::reason(source))]
    Unreadable { path: Utf8PathBuf, source: std::io::Error },
    #[error("the inventory {path} has more than {} MiB", LARGEST >> 20)]
    TooLarge { path: Utf8PathBuf },
    #[error("{path}:{line}:{column}: the inventory is not UTF-8 text")]
    NotUtf8 { path: Utf8PathBuf, line: usize, column: usize },
    #[error(transparent)]
    Invalid(#[from] Mistakes),
}

impl InventoryError {
    /// How it is mended, where there is something to say beyond the message.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => Some("copy inventory.example.yaml and put your hosts in"),
            Self::Directory { .. } => Some("name the file in it, as `-i inventory.yaml`"),
            Self::NotUtf8 { .. } => Some("save it as UTF-8"),
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::Invalid(_) => None,
        }
    }
}

/// Reads an inventory file, checks it and all files that it names.
pub fn load(path: &Utf8Path) -> Result<Loaded, InventoryError> {
    let text = text(path)?;
    let unreadable = |source| InventoryError::Unreadable { path: path.to_owned(), source };
    let absolute = camino::absolute_utf8(path).map_err(unreadable)?;
    let home = std::env::var("HOME").ok().filter(|home| !home.is_empty()).map(Utf8PathBuf::from);
    let folder = absolute.parent().unwrap_or(Utf8Path::new("/"));
    let places = Places { folder, home: home.as_deref() };
    let (cluster, warnings) = examine(&text, path, Some(&places))?;
    Ok(Loaded { cluster, path: absolute, warnings })
}

/// Checks an inventory's text without looking at the files that it names; their paths stay as they are written.
/// `origin` is what messages call it.
pub fn parse(text: &str, origin: &Utf8Path) -> Result<Cluster, Mistakes> {
    examine(text, origin, None).map(|(cluster, _)| cluster)
}

/// Reads another of kboot's own files: its shape is compared with the types', and every mistake has its place.
pub fn read_document<T: DeserializeOwned + JsonSchema>(
    text: &str,
    sort: Sort,
    origin: &Utf8Path,
) -> Result<T, Mistakes> {
    let report = |list| Mistakes::new(origin, text, list);
    let (document, mut mistakes) = Node::read(text, sort).map_err(|mistake| report(vec![mistake]))?;
    let schema = schema::of::<T>();
    let shaped = shape(&document, &schema);
    mistakes.extend(shaped.mistakes);
    if !mistakes.is_empty() {
        return Err(report(mistakes));
    }
    serde_json::from_value(shaped.value)
        .map_err(|error| report(vec![Mistake::new(Path::root(), error.to_string()).at(document.span)]))
}

fn examine(text: &str, origin: &Utf8Path, places: Option<&Places>) -> Result<(Cluster, Mistakes), Mistakes> {
    let report = |list| Mistakes::new(origin, text, list);
    if text.trim_start().starts_with("-----BEGIN ") {
        let message = "this is a key or a certificate, not an inventory";
        return Err(report(vec![Mistake::new(Path::root(), message)]));
    }
    let (document, mut mistakes) = Node::read(text, INVENTORY).map_err(|mistake| report(vec![mistake]))?;
    if let Some(mistake) = foreign(&document) {
        return Err(report(vec![mistake]));
    }
    let shaped = shape(&document, schema::value());
    mistakes.extend(shaped.mistakes);
    let mut cluster: Cluster = match serde_json::from_value(shaped.value) {
        Ok(cluster) => cluster,
        // Only if the schema and the types part ways, which the tests would have to miss.
        Err(error) => {
            if mistakes.is_empty() {
                mistakes.push(Mistake::new(Path::root(), error.to_string()));
            }
            return Err(report(mistakes));
        }
    };
    let defaults = Packages::default();
    complete(&mut cluster.packages.kubernetes, &defaults.kubernetes);
    complete(&mut cluster.packages.containerd, &defaults.containerd);

    let mut findings = Findings::new(&document, text, &shaped.broken);
    check::all(&cluster, &mut findings);
    let mut warnings = check::warnings(&cluster);
    if let Some(places) = places {
        warnings.extend(files::check(&mut cluster, places, &mut findings));
    }
    mistakes.append(&mut findings.mistakes);
    if !mistakes.is_empty() {
        return Err(report(mistakes));
    }
    for warning in &mut warnings {
        warning.span = document.locate(&warning.path, false);
    }
    Ok((cluster, Mistakes::warnings(origin, text, warnings)))
}

/// Another tool's file: telling all that is unknown in it would help nobody.
fn foreign(document: &Node) -> Option<Mistake> {
    let Kind::Map(entries) = &document.kind else { return None };
    let version = entries.iter().find(|entry| entry.key == "apiVersion")?;
    match &version.value.kind {
        Kind::String(text) if text.split('/').next().is_some_and(|group| group.contains('.')) => {
            let message = format!("{} is another tool's format, not an inventory of kboot", quote(text));
            let mistake = Mistake::new(Path::of("apiVersion"), message);
            Some(mistake.hint("an inventory begins with `apiVersion: kboot/v1alpha1`").at(version.value.span.clone()))
        }
        _ => None,
    }
}

/// Fills in what a repository leaves out. One with a `url` of its own gets nothing: another's key must not be taken for
/// its.
fn complete(repository: &mut Repository, default: &Repository) {
    if !repository.url.is_empty() || repository.distribution {
        return;
    }
    let given = std::mem::replace(repository, default.clone());
    if !given.suite.is_empty() {
        repository.suite = given.suite;
    }
    if !given.components.is_empty() {
        repository.components = given.components;
    }
    if given.key_file.is_some() {
        repository.key_url = None;
    }
    repository.key_file = given.key_file;
    repository.key_url = given.key_url.or(repository.key_url.take());
    if !given.fingerprint.is_empty() {
        repository.fingerprint = given.fingerprint;
    }
}

/// The name that stands for the standard input.
const STDIN: &str = "-";

fn limited(source: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut data)?;
    Ok(data)
}

/// What the standard input holds. It can be read only once, and a command may ask for its inventory again.
fn standard_input() -> std::io::Result<Vec<u8>> {
    static READ: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(data) = &*read {
        return Ok(data.clone());
    }
    let data = limited(std::io::stdin().lock())?;
    *read = Some(data.clone());
    Ok(data)
}

/// The text of an inventory's file, or of the standard input for `-`.
pub fn text(path: &Utf8Path) -> Result<String, InventoryError> {
    let fail = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => InventoryError::NotFound { path: path.to_owned() },
        std::io::ErrorKind::IsADirectory => InventoryError::Directory { path: path.to_owned() },
        _ => InventoryError::Unreadable { path: path.to_owned(), source },
    };
    let data = match path == STDIN {
        true => standard_input().map_err(fail)?,
        false => limited(std::fs::File::open(path).map_err(fail)?).map_err(fail)?,
    };
    if data.len() as u64 > LARGEST {
        return Err(InventoryError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(data).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let valid = String::from_utf8_lossy(&error.as_bytes()[..offset]);
        let (line, column) = position(&valid, offset);
        InventoryError::NotUtf8 { path: path.to_owned(), line, column }
    })
}
