//! The file's text: YAML, sorted, an entry a line, so that a change reads well in a diff.

use std::fmt::Write as _;

use camino::Utf8Path;

use super::Lock;
use crate::inventory::reading::Sort;
use crate::inventory::{self, Mistakes};

/// What a new file begins with.
pub const HEAD: &str = "\
# What `kboot lock` resolved for the inventory beside this file. `kboot up` installs these versions, `kboot up --locked` nothing else.
# Keep it in version control. `kboot lock` adds what is missing, `kboot lock --update` moves on to what is newest. These lines are yours to
# change; the rest is kboot's.
";

/// Reads a lock; every mistake with its place. `origin` is what messages call it.
pub fn parse(text: &str, origin: &Utf8Path) -> Result<Lock, Mistakes> {
    const LOCK: Sort = Sort {
        noun: "a lock",
        apart: "each inventory has a lock of its own, beside it",
        least: "`kboot lock` writes it anew once it is gone",
    };
    inventory::read_document(text, LOCK, origin)
}

/// The comment that a file begins with, to be kept when it is written anew.
pub fn head(text: &str) -> &str {
    let is_comment = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    let length: usize = text.split_inclusive('\n').take_while(is_comment).map(str::len).sum();
    text[..length].trim_end_matches('\n')
}

/// The file's text. The same lock gives the same bytes.
pub fn print(lock: &Lock, head: &str) -> String {
    let mut text = String::new();
    let head = head.trim_end_matches('\n');
    if !head.is_empty() {
        write(&mut text, 0, format_args!("{head}"));
    }
    for (name, value) in [
        ("apiVersion", "kboot/v1alpha1"),
        ("kind", "Lock"),
        ("cluster", &lock.cluster),
        ("kubernetes", &lock.kubernetes),
    ] {
        write(&mut text, 0, format_args!("{name}: {}", word(value)));
    }
    section(&mut text, "packages", lock.packages.is_empty());
    for (platform, packages) in &lock.packages {
        if packages.is_empty() {
            write(&mut text, 1, format_args!("{}: {{}}", word(platform)));
            continue;
        }
        write(&mut text, 1, format_args!("{}:", word(platform)));
        for (name, package) in packages {
            let (version, sha256) = (quoted(&package.version), quoted(&package.sha256));
            write(&mut text, 2, format_args!("{}: {{version: {version}, sha256: {sha256}}}", word(name)));
        }
    }
    for (name, digests) in [("images", &lock.images), ("objects", &lock.objects)] {
        section(&mut text, name, digests.is_empty());
        digests.iter().for_each(|(key, digest)| write(&mut text, 1, format_args!("{}: {}", word(key), word(digest))));
    }
    section(&mut text, "hosts", lock.hosts.is_empty());
    for (name, host) in &lock.hosts {
        write(&mut text, 1, format_args!("{}:", word(name)));
        write(&mut text, 2, format_args!("platform: {}", word(&host.platform)));
        write(&mut text, 2, format_args!("hostKey: {}", word(&host.host_key)));
        if host.files.is_empty() {
            write(&mut text, 2, format_args!("files: {{}}"));
            continue;
        }
        write(&mut text, 2, format_args!("files:"));
        host.files.iter().for_each(|(path, hash)| write(&mut text, 3, format_args!("{}: {}", word(path), word(hash))));
    }
    text
}

fn section(text: &mut String, name: &str, is_empty: bool) {
    let value = if is_empty { " {}" } else { "" };
    text.push('\n');
    write(text, 0, format_args!("{name}:{value}"));
}

fn write(text: &mut String, depth: usize, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{:1$}{line}", "", depth * 2).expect("writing to memory does not fail");
}

/// Plain where nobody could read it as anything but this text.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/.:@_+= -".contains(c);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let ends_well = !text.ends_with([':', ' ']) && !text.contains(": ");
    if begins_well && ends_well && !is_word && text.chars().all(is_plain) { text.into() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    // JSON's strings are YAML's, too.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::samples;

    fn mistakes(text: &str) -> String {
        parse(text, "kboot.lock".into()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let lock = samples::lock();
        let text = print(&lock, HEAD);
        assert_eq!(parse(&text, "kboot.lock".into()).unwrap(), lock);
        insta::assert_snapshot!(text);
        let empty = Lock {
            packages: [("p".into(), [].into())].into(),
            images: [].into(),
            objects: [].into(),
            hosts: [].into(),
            ..lock
        };
        assert_eq!(parse(&print(&empty, ""), "kboot.lock".into()).unwrap(), empty);
    }

    #[test]
    fn odd_names_and_versions_stay_what_they_are() {
        for odd in [
            "6.4",
            "1e5",
            "on",
            "~",
            "",
            "a: b",
            "a #b",
            "- x",
            "1:2.3~rc+b2",
            "é",
            "\"",
            "null",
            "a:",
            "0x1f",
            "{",
            "*a",
        ] {
            let mut lock = samples::lock();
            lock.cluster = odd.into();
            lock.images = [(odd.to_string(), samples::digest('1'))].into();
            lock.packages.values_mut().flat_map(|p| p.values_mut()).for_each(|package| package.version = odd.into());
            assert_eq!(parse(&print(&lock, HEAD), "x".into()).unwrap(), lock, "{odd}");
        }
    }

    #[test]
    fn the_head_is_a_person_s_and_stays() {
        let text = print(&samples::lock(), "# ours\n\n# and ours\n");
        assert_eq!(head(&text), "# ours\n\n# and ours");
        assert_eq!(print(&samples::lock(), head(&text)), text);
        assert_eq!(head("apiVersion: x # no"), "");
    }

    #[test]
    fn a_broken_file_is_told_with_line_and_column() {
        let text = print(&samples::lock(), "");
        let told = mistakes(&text.replace("version: \"1.36.0-1.1\"", "version: 1.36"));
        assert!(told.contains("kboot.lock:8:") && told.contains("takes text, not the number 1.36"), "{told}");
        let told = mistakes(&text.replacen("sha256:1111", "sha256:11", 1));
        assert!(told.contains("is no SHA-256 digest"), "{told}");
        let told = mistakes(&text.replace("hostKey", "hostkey"));
        assert!(told.contains("did you mean `hostKey`?"), "{told}");
        let told = mistakes(&format!("<<<<<<< HEAD\n{text}"));
        assert!(told.contains("kboot.lock:"), "{told}");
        assert!(mistakes("").contains("the file is empty"));
        assert!(mistakes(&text.replace("kind: Lock", "kind: Cluster")).contains("must be `Lock`"));
    }
}
