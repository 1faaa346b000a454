//! `-o json`: every command has JSON output, or refuses it.

use serde_json::Value;

use super::help::leaves;
use super::sandbox::Sandbox;

/// Commands that work on hosts or with a cluster, whose output the end-to-end tests read; and a saved plan's (sources.rs).
const SHOWN_ELSEWHERE: [&str; 21] = [
    "apply",
    "config images pull",
    "endpoint move",
    "history",
    "hosts trust",
    "init",
    "join",
    "phase init",
    "phase join",
    "phase reset",
    "phase up",
    "plan",
    "plan show",
    "recover",
    "reset",
    "run",
    "token create",
    "token delete",
    "token list",
    "undo",
    "up",
];
const PRINT_DATA: [&str; 8] = [
    "config images list",
    "config print",
    "config schema",
    "config validate",
    "phase list",
    "playbook list",
    "playbook schema",
    "version",
];

#[test]
fn every_command_prints_json_or_refuses_it() {
    let sandbox = Sandbox::with_inventory();
    for command in leaves() {
        if SHOWN_ELSEWHERE.contains(&command) {
            continue;
        }
        let mut arguments: Vec<&str> = command.split(' ').collect();
        if PRINT_DATA.contains(&command) {
            let told = sandbox.untouched(0, &[&arguments[..], &["-o", "json"]].concat());
            assert!(serde_json::from_str::<Value>(&told.stdout).is_ok_and(|value| value.is_object()), "{told}");
            continue;
        }
        match command {
            "adopt" => arguments.extend(["--host", "192.0.2.1"]),
            "completion" => arguments.push("bash"),
            "config init" => arguments.push("192.0.2.1"),
            "man" => arguments.push("man"),
            "playbook show" => arguments.push("up"),
            "playbook validate" => arguments.push("site.yaml"),
            _ => {}
        }
        let told = sandbox.refused(&[&arguments[..], &["-o", "json"]].concat());
        assert!(told.stderr.contains(&format!("`kboot {command}` has no JSON output")), "{told}");
    }
}

/// For scripts that set the variable once.
#[test]
fn a_format_from_the_environment_is_for_commands_that_have_it() {
    let sandbox = Sandbox::new();
    let output = |arguments: &[&str]| {
        let output = sandbox.command(arguments).env("KBOOT_OUTPUT", "json").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(output(&["config", "init", "192.0.2.1"]).contains("address: 192.0.2.1\n"));
    assert!(output(&["playbook", "list"]).starts_with('{'));
}
