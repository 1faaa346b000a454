//! Inventories that must be refused, by every command that reads one. What is said of each mistake is snapshot in
//! tests/inventory; here it is the exit code, the streams and that nothing is touched.

use camino::{Utf8Path, Utf8PathBuf};

use super::sandbox::{Sandbox, check};

const READERS: [&[&str]; 8] = [
    &["up"],
    &["up", "--dry-run", "--output", "json"],
    &["config", "validate"],
    &["config", "print"],
    &["hosts", "trust", "--yes"],
    &["kubeconfig"],
    &["recover", "--from", "n1", "--yes"],
    &["reset", "--yes"],
];

fn on(arguments: &[&'static str], file: &'static str) -> Vec<&'static str> {
    [arguments, &["-i", file]].concat()
}

#[test]
fn what_validate_refuses_all_refuse_in_the_same_words() {
    let sandbox = Sandbox::with_inventory();
    let duplicates =
        "  - {name: n1, address: 192.0.2.11, roles: [worker]}\nnetwork: {podSubnet: 10.96.0.0/16}\nnam: lab\n";
    sandbox.file("bad.yaml", sandbox.inventory(22, duplicates));
    let told: Vec<_> = READERS.iter().map(|reader| sandbox.refused(&on(reader, "bad.yaml"))).collect();
    for other in &told {
        assert_eq!(other.stderr, told[0].stderr, "{other}");
    }
    check(&sandbox, "bad-inventory-mistakes", &told[0]);
}

#[test]
fn every_bad_inventory_is_refused_with_its_whole_report() {
    let folder = Utf8Path::new("tests/inventory/bad");
    let mut files: Vec<Utf8PathBuf> = folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path()).collect();
    files.retain(|path| path.extension() == Some("yaml"));
    assert!(files.len() >= 90, "{} files", files.len());
    let sandbox = Sandbox::new();
    for file in files {
        let absolute = camino::absolute_utf8(&file).unwrap();
        let told = sandbox.refused(&["up", "-i", absolute.as_str()]);
        let report = std::fs::read_to_string(file.with_extension("snap")).unwrap();
        let (_, report) = report.split_once("\n---\n").unwrap();
        let folder = absolute.parent().unwrap();
        let said = told.stderr.replace(&format!("{folder}/"), "[folder]/").replace(folder.as_str(), "[folder]");
        let bare = |text: &str| text.replace("[folder]/", "").replace("[folder]", "").trim().to_string();
        assert_eq!(bare(said.trim_start_matches("error: ")), bare(report), "{file}");
    }
}

#[test]
fn no_inventory() {
    let sandbox = Sandbox::new();
    sandbox.file("latin1.yaml", b"name: caf\xe9\n").file("empty.yaml", "");
    check(&sandbox, "bad-inventory-default", &sandbox.refused(&["up"]));
    check(&sandbox, "bad-inventory-missing", &sandbox.refused(&["up", "-i", "lab.yaml"]));
    check(&sandbox, "bad-inventory-folder", &sandbox.refused(&["up", "-i", "."]));
    check(&sandbox, "bad-inventory-not-utf8", &sandbox.refused(&["up", "-i", "latin1.yaml"]));
    check(&sandbox, "bad-inventory-empty", &sandbox.refused(&["up", "-i", "empty.yaml"]));
}

#[test]
fn keys_that_are_no_use() {
    let sandbox = Sandbox::with_inventory();
    let inventory = |file: &str| sandbox.inventory(22, "").replace("./key", file);
    sandbox.key("open", "").mode("open", 0o644);
    for (name, file) in [("missing", "./nowhere"), ("public", "./key.pub"), ("open", "./open"), ("folder", ".")] {
        sandbox.file("bad.yaml", inventory(file));
        check(&sandbox, &format!("bad-key-{name}"), &sandbox.refused(&["up", "-i", "bad.yaml"]));
    }
}

/// A repository's key is read by the controller, before any host is asked.
#[test]
fn repository_keys_that_are_none() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("noise.asc", "no key\n");
    for (name, file) in [("missing", "nowhere.asc"), ("none", "noise.asc")] {
        let more = format!("packages:\n  kubernetes: {{url: http://192.0.2.1/k, suite: /, keyFile: ./{file}}}\n");
        sandbox.file("bad.yaml", sandbox.inventory(22, &more));
        check(&sandbox, &format!("bad-repository-key-{name}"), &sandbox.refused(&["up", "-i", "bad.yaml"]));
    }
}
