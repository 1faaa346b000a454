//! The corpora, replayed on stable Rust.

#![expect(clippy::print_stdout, reason = "it is seen only where a sample fails, and tells which one")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{TARGETS, run, sections};

/// A debug build on a busy machine is far slower than this module's functions are. What takes longer has no bound.
const LONGEST: Duration = Duration::from_secs(20);
/// Samples are read by people. What a fuzzer finds is made small before it is kept.
const LARGEST: u64 = 32 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_none_is_left_over() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "a name is there twice");
    assert_eq!(names(&fuzz().join("src/bin")), targets);
    assert_eq!(names(&fuzz().join("corpus")), targets);
}

#[test]
fn corpora_are_replayed() {
    for (target, _) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 5, "{target} has {} samples", files.len());
        run(target, b"");
        for file in files {
            let data = std::fs::read(&file).unwrap();
            assert!(data.len() as u64 <= LARGEST, "{} is too large for a sample", file.display());
            // Seen only where a sample fails.
            println!("{}", file.display());
            let started = Instant::now();
            run(target, &data);
            // Cut off in the midst, as a connection or a crash leaves it.
            run(target, &data[..data.len() / 2]);
            assert!(started.elapsed() < LONGEST, "{} took {:?}", file.display(), started.elapsed());
        }
    }
}

#[test]
fn an_input_has_parts() {
    let part = |name: &str, content: &str| (name.to_owned(), content.as_bytes().to_vec());
    assert_eq!(sections(b"a\n=== /x\nb\nc\n=== y\n"), [part("", "a\n"), part("/x", "b\nc\n"), part("y", "")]);
}
