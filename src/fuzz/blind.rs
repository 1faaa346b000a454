//! Random changes of the samples, on stable Rust and without a fuzzer's eyes: less thorough than `make fuzz`, and much sooner at hand.
//!
//! `KBOOT_FUZZ_SECONDS=60 KBOOT_FUZZ_TARGET=der cargo test --lib fuzz::blind -- --ignored --nocapture`; without a target it is all, each
//! for so long. An input that fails is kept in `fuzz/artifacts`.

#![expect(clippy::print_stdout, reason = "somebody has asked for it")]

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{TARGETS, run};
use crate::engine::sha256;

/// As much as `make fuzz` gives.
const LARGEST: usize = 64 << 10;
/// What parsers are wrong about.
const WORDS: [&[u8]; 24] = [
    b"0",
    b"-1",
    b"4294967296",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"1e999",
    b"\0",
    b"\n",
    b"\r\n",
    b"\x1b[2J",
    b"\xff",
    b"\xe2\x80\xae",
    b"\xc2\x9b",
    b"\xef\xbb\xbf",
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b": ",
    b"- ",
    b"&a ",
    b"*a",
    b"---\n",
    b"%",
];

#[test]
#[ignore = "takes as long as one likes"]
fn samples_are_changed_at_random() {
    let seconds = std::env::var("KBOOT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let only = std::env::var("KBOOT_FUZZ_TARGET").ok();
    let seed: u64 = rand::random();
    let mut failed = Vec::new();
    for (target, _) in TARGETS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        let (runs, slowest, failure) = fuzz(target, Duration::from_secs(seconds), seed);
        println!("{target}: {runs} runs, the slowest {slowest:?}, seed {seed}");
        failed.extend(failure);
    }
    assert_eq!(failed, [] as [PathBuf; 0]);
}

/// How many inputs were tried, how long the slowest took, and the file of the first that failed.
fn fuzz(target: &str, time: Duration, seed: u64) -> (u64, Duration, Option<PathBuf>) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let files = fuzz.join("corpus").join(target).read_dir().unwrap();
    let samples: Vec<Vec<u8>> = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let mut random = StdRng::seed_from_u64(seed);
    let (started, mut runs, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while started.elapsed() < time {
        let input = changed(&samples, &mut random);
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| run(target, &input)));
        (runs, slowest) = (runs + 1, slowest.max(begun.elapsed()));
        if result.is_err() || begun.elapsed() > Duration::from_secs(20) {
            let folder = fuzz.join("artifacts").join(target);
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("blind-{}", &sha256(&input)[..16]));
            std::fs::write(&file, &input).unwrap();
            return (runs, slowest, Some(file));
        }
    }
    (runs, slowest, None)
}

fn changed(samples: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = samples.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..=6) {
        let (from, to) = piece(input.len(), random);
        match random.random_range(0..8) {
            0 if from < input.len() => input[from] ^= 1 << random.random_range(0..8),
            1 if from < input.len() => input[from] = random.random(),
            2 => drop(input.drain(from..to)),
            3 => {
                let copy = input[from..to].to_vec();
                put(&mut input, from..from, &copy);
            }
            4 => put(&mut input, from..to, WORDS.choose(random).unwrap()),
            5 => {
                let other = samples.choose(random).unwrap();
                let (start, end) = piece(other.len(), random);
                put(&mut input, from..to, &other[start..end]);
            }
            6 => number(&mut input, from, random),
            _ => put(&mut input, from..from, WORDS.choose(random).unwrap()),
        }
        input.truncate(LARGEST);
    }
    input
}

fn put(input: &mut Vec<u8>, place: Range<usize>, bytes: &[u8]) {
    drop(input.splice(place, bytes.iter().copied()));
}

/// A part of so many bytes, most often a short one.
fn piece(length: usize, random: &mut StdRng) -> (usize, usize) {
    let from = random.random_range(0..=length);
    let most = if random.random_bool(0.8) { 16 } else { length };
    (from, random.random_range(from..=length.min(from + most)))
}

/// Puts an odd number in the place of the next one.
fn number(input: &mut Vec<u8>, from: usize, random: &mut StdRng) {
    let Some(start) = input[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
    let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |at| start + at);
    put(input, start..end, WORDS[..6].choose(random).unwrap());
}
