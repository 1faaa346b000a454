//! What is made from the command line's definition: completions, man pages, the reference in docs/cli.md.

use std::process::Command;

use super::help::{COMMANDS, leaves};
use super::sandbox::{Sandbox, check};

/// All that people may call: the agent is the controller's alone.
fn visible() -> impl Iterator<Item = &'static str> {
    COMMANDS.into_iter().filter(|command| *command != "agent")
}

#[test]
fn completions_know_every_command() {
    let sandbox = Sandbox::new();
    for (shell, first) in [
        ("bash", "_kboot() {"),
        ("zsh", "#compdef kboot"),
        ("fish", "# Print an optspec for argparse to handle cmd's options that are independent of any subcommand."),
        ("elvish", ""),
        ("powershell", ""),
    ] {
        let told = sandbox.untouched(0, &["completion", shell]);
        assert_eq!(told.stderr, "");
        assert_eq!(told.stdout.lines().next(), Some(first), "{shell}");
        for word in visible().flat_map(str::split_whitespace) {
            assert!(told.stdout.contains(word), "{shell}: {word}");
        }
        for flag in ["dry-run", "ignore-preflight", "discovery-token-ca-cert-hash", "print-join-command", "output"] {
            assert!(told.stdout.contains(flag), "{shell}: {flag}");
        }
    }
}

/// As a person at a prompt would press the tab key.
#[test]
fn bash_completes() {
    let sandbox = Sandbox::new();
    sandbox.file("completion.bash", sandbox.kboot(&["completion", "bash"]).stdout);
    let completed = |line: &[&str]| {
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (last, before) = (line[line.len() - 1], line[line.len() - 2]);
        let script = format!(
            "source ./completion.bash; COMP_WORDS=({words}); COMP_CWORD={}; _kboot kboot '{last}' '{before}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len() - 1
        );
        let output = Command::new("bash")
            .args(["--norc", "-euc", &script])
            .current_dir(sandbox.path(""))
            .output()
            .expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["kboot", "to"]), ["token"]);
    assert_eq!(completed(&["kboot", "token", "cr"]), ["create"]);
    assert_eq!(completed(&["kboot", "up", "--dry"]), ["--dry-run"]);
    assert_eq!(completed(&["kboot", "up", "--output", "j"]), ["json"]);
    assert_eq!(completed(&["kboot", "init", "--cni", "f"]), ["flannel"]);
    assert!(!completed(&["kboot", ""]).contains(&"agent".to_string()));
}

#[test]
fn man_pages() {
    let sandbox = Sandbox::new();
    let told = sandbox.kboot(&["man", "share/man1"]);
    assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (Some(0), "", ""));
    let mut names: Vec<String> =
        sandbox.path("share/man1").read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    names.sort();
    let mut expected: Vec<String> =
        visible().map(|command| format!("kboot {command}").trim().replace(' ', "-") + ".1").collect();
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        let page = std::fs::read_to_string(sandbox.path("share/man1").join(&name)).unwrap();
        let title = name.trim_end_matches(".1");
        let head = format!(".TH {title} 1  \"kboot {}\" kboot\n", env!("CARGO_PKG_VERSION"));
        assert!(page.contains(&head), "{name}: {page}");
        assert!(page.contains(".SH NAME\n") && page.contains(".SH SYNOPSIS\n"), "{name}");
    }
    let up = std::fs::read_to_string(sandbox.path("share/man1/kboot-up.1")).unwrap();
    assert!(up.contains(r"\-\-dry\-run") && up.contains("kboot up \\-i inventory.yaml"), "{up}");
}

#[test]
fn a_folder_that_is_none() {
    let sandbox = Sandbox::new();
    sandbox.file("file", "");
    check(&sandbox, "man-into-a-file", &sandbox.untouched(1, &["man", "file"]));
}

/// `KBOOT_BLESS=1 cargo test --test cli` writes it anew.
#[test]
fn the_reference_is_up_to_date() {
    let file = "docs/cli.md";
    let wanted = kboot::cli::reference();
    if std::env::var_os("KBOOT_BLESS").is_some() {
        std::fs::write(file, &wanted).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap_or_default(), wanted, "{file}");
    for command in leaves().filter(|command| *command != "agent") {
        assert!(wanted.contains(&format!("\n## kboot {command}\n")), "{command}");
    }
}
