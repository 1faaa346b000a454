//! What is known so far, in a folder: one file a result, so that a run that was cut off goes on, and lanes share the work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::case::{Case, Part, Point, Step};

pub struct Results {
    folder: PathBuf,
}

/// How a case ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub case: Case,
    /// Why it failed.
    pub failure: Option<String>,
    pub seconds: f64,
    /// The commit that was tried.
    pub build: String,
    /// Points that a chain got past, in their order.
    #[serde(default)]
    pub passed: Vec<(Point, String)>,
}

impl Results {
    pub fn open() -> Self {
        let folder = std::env::var_os("KBOOT_MATRIX_DIR").map_or_else(default_folder, PathBuf::from);
        for name in ["results", "claims", "logs"] {
            fs::create_dir_all(folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        Self { folder }
    }

    pub fn forget(&self) {
        for name in ["results", "logs"] {
            clear(&self.folder.join(name));
        }
        for part in Part::ALL {
            let _ = fs::remove_file(self.steps_file(part));
        }
    }

    /// No lane runs: what one of an earlier run had begun is to be had again.
    pub fn unclaim(&self) {
        clear(&self.folder.join("claims"));
    }

    /// Whether the case is the caller's to run: nobody has, and nobody does.
    pub fn claim(&self, case: &Case) -> bool {
        let name = case.name().replace('/', "-");
        !self.result_file(case).exists() && fs::File::create_new(self.folder.join("claims").join(name)).is_ok()
    }

    pub fn keep(&self, outcome: &Outcome) {
        let text = serde_json::to_vec_pretty(outcome).expect("plain data");
        let path = self.result_file(&outcome.case);
        let new = path.with_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(new, path)).expect("the results' folder is writable");
    }

    /// The changes of a clean run, by the first lane that saw one.
    pub fn keep_steps(&self, part: Part, steps: &[Step]) {
        if self.steps(part).is_empty() {
            let text = serde_json::to_vec_pretty(steps).expect("plain data");
            fs::write(self.steps_file(part), text).expect("the results' folder is writable");
        }
    }

    pub fn steps(&self, part: Part) -> Vec<Step> {
        fs::read(self.steps_file(part)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub fn all(&self) -> Vec<Outcome> {
        let entries = fs::read_dir(self.folder.join("results")).expect("it was made");
        let paths =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension() == Some("json".as_ref()));
        paths.filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect()
    }

    pub fn missing(&self, parts: &[String]) -> Vec<Case> {
        let cases = Part::ALL.into_iter().flat_map(|part| Case::all(part, &self.steps(part)));
        cases.filter(|case| case.matches(parts) && !self.result_file(case).exists()).collect()
    }

    pub fn counts(&self) -> (usize, usize) {
        let all = self.all();
        let bad = all.iter().filter(|outcome| outcome.failure.is_some()).count();
        (all.len() - bad, bad)
    }

    /// Where a case may put what was said.
    pub fn log(&self, case: &Case, name: &str, text: &str) {
        let path = self.folder.join("logs").join(format!("{}.{name}", case.name().replace('/', "-")));
        let _ = fs::write(path, text);
    }

    fn result_file(&self, case: &Case) -> PathBuf {
        self.folder.join("results").join(format!("{}.json", case.name().replace('/', "-")))
    }

    fn steps_file(&self, part: Part) -> PathBuf {
        self.folder.join(format!("steps-{}.json", crate::case::word(&part)))
    }
}

/// The commit of this checkout, as `0123abc`, with a `+` where files differ from it.
pub fn build() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let commit = git(&["rev-parse", "--short=7", "HEAD"]);
    let is_changed = !git(&["status", "--porcelain", "src", "Cargo.toml", "Cargo.lock"]).is_empty();
    format!("{}{}", if commit.is_empty() { "unknown" } else { &commit }, if is_changed { "+" } else { "" })
}

fn default_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("kboot-matrix")
}

fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).expect("it was made").flatten() {
        let _ = fs::remove_file(entry.path());
    }
}
