//! Help, the version, and no arguments at all.

use super::sandbox::{Sandbox, check};

/// Every command line that has help of its own.
pub const COMMANDS: [&str; 46] = [
    "",
    "up",
    "init",
    "join",
    "recover",
    "reset",
    "endpoint",
    "endpoint move",
    "phase",
    "phase list",
    "phase init",
    "phase join",
    "phase reset",
    "phase up",
    "plan",
    "plan show",
    "apply",
    "adopt",
    "run",
    "lock",
    "undo",
    "history",
    "token",
    "token create",
    "token list",
    "token delete",
    "kubeconfig",
    "hosts",
    "hosts trust",
    "config",
    "config init",
    "config validate",
    "config print",
    "config schema",
    "config images",
    "config images list",
    "config images pull",
    "playbook",
    "playbook list",
    "playbook show",
    "playbook validate",
    "playbook schema",
    "completion",
    "man",
    "version",
    "agent",
];

#[test]
fn help() {
    let sandbox = Sandbox::new();
    for command in COMMANDS {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let told = sandbox.untouched(0, &arguments);
        assert_eq!(told.stderr, "");
        assert!(told.stdout.lines().all(|line| line.chars().count() <= 100), "{told}");
        check(&sandbox, &format!("help-{}", command.replace(' ', "-")), &told);
    }
}

#[test]
fn every_command_is_in_the_list_above() {
    let sandbox = Sandbox::new();
    for command in COMMANDS {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = sandbox.kboot(&arguments).stdout;
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for line in listed.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = line.split_whitespace().next().unwrap();
            let whole = format!("{command} {name}");
            assert!(name == "help" || COMMANDS.contains(&whole.trim()), "{whole}");
        }
    }
}

/// The commands that do something without a subcommand.
pub fn leaves() -> impl Iterator<Item = &'static str> {
    let has_more = |command: &str| COMMANDS.iter().any(|other| other.starts_with(&format!("{command} ")));
    COMMANDS.into_iter().filter(move |command| !command.is_empty() && (*command == "plan" || !has_more(command)))
}

#[test]
fn short_help_and_the_help_command_tell_the_same_of_a_command() {
    let sandbox = Sandbox::new();
    check(&sandbox, "help-short-up", &sandbox.untouched(0, &["up", "-h"]));
    let (command, flag) = (sandbox.kboot(&["help", "token", "create"]), sandbox.kboot(&["token", "create", "--help"]));
    assert_eq!(command.stdout, flag.stdout);
}

#[test]
fn version() {
    let sandbox = Sandbox::new();
    let told = sandbox.untouched(0, &["--version"]);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), (concat!("kboot ", env!("CARGO_PKG_VERSION"), "\n"), ""));
    assert_eq!(sandbox.kboot(&["-V"]).stdout, told.stdout);
}

/// The help, but as what was missing: on standard error, with exit code 2.
#[test]
fn nothing_asked_for() {
    let sandbox = Sandbox::new();
    for command in ["", "token", "hosts", "config", "config images", "playbook"] {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let told = sandbox.untouched(2, &arguments);
        assert_eq!(told.stdout, "", "{told}");
        let help = sandbox.kboot(&[arguments.as_slice(), &["-h"]].concat());
        assert_eq!(told.stderr, help.stdout, "{told}");
    }
}
