//! Every parser of bytes that come from outside, as a target of a fuzzer, with what must hold whatever the bytes are.
//!
//! Compiled for tests, which replay the corpora in `fuzz/corpus`, and for the fuzzer, which sets `cfg(fuzzing)`. No build of the
//! binary has it. It is a module of the library because a target calls what the program itself calls, private functions too. It may
//! use every module; no module may use it. See fuzz/README.md.

mod agent;
#[cfg(test)]
mod blind;
mod files;
mod host;
mod keys;
mod network;
mod records;
#[cfg(test)]
mod tests;
mod yaml;

/// A name, as its folder in `fuzz/corpus` and its program in `fuzz/src/bin` have it, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, in alphabetical order. To add one: a line here, a program in `fuzz/src/bin`, a folder of samples in `fuzz/corpus`.
pub const TARGETS: [Target; 23] = [
    ("agent-replies", agent::replies),
    ("agent-requests", agent::requests),
    ("baseline", records::baseline),
    ("cluster-info", network::cluster_info),
    ("der", keys::der),
    ("etcd", network::etcd),
    ("host-files", host::files),
    ("inventory", yaml::inventory),
    ("journal", records::journal),
    ("known-hosts", keys::known_hosts),
    ("kubeadm", yaml::kubeadm),
    ("kubeadm-patches", yaml::patches),
    ("kubeconfig", files::kubeconfig),
    ("lock", yaml::lock),
    ("manifests", files::manifests),
    ("netlink", host::netlink),
    ("openpgp", keys::openpgp),
    ("packages", host::packages),
    ("pem", keys::pem),
    ("plan", records::plan),
    ("playbook", yaml::playbook),
    ("registry", network::registry),
    ("terminal", files::terminal),
];

/// Gives the bytes to a target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("{name} is no target"));
    target(data);
}

/// Fails unless a terminal shows the text as it stands: no control characters but line breaks, none that turn the direction of text.
fn assert_harmless(text: &str) {
    let is_direction =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hostile = text.chars().find(|c| *c != '\n' && (c.is_control() || is_direction(*c)));
    assert_eq!(hostile, None, "{text:?}");
}

/// Parts of an input that stands for several files: `=== NAME` begins a part. What stands before the first has no name.
fn sections(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = vec![(String::new(), Vec::new())];
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"=== ") {
            Some(name) => found.push((String::from_utf8_lossy(name).trim_end().to_owned(), Vec::new())),
            None => found.last_mut().expect("it begins with one").1.extend_from_slice(line),
        }
    }
    found
}
