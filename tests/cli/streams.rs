//! Which stream what goes to, colours, and readers that go away.

use std::process::Stdio;

use super::sandbox::Sandbox;

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let sandbox = Sandbox::with_inventory();
    for line in ["completion bash", "config schema", "config print", "config validate", "playbook list", "up --help"] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let mut command = sandbox.command(&arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{line}");
    }
}

#[test]
fn a_disk_that_is_full_is_one() {
    let sandbox = Sandbox::with_inventory();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = sandbox.command(&["config", "print"]).stdin(Stdio::null()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("error: failed to write to the standard output: No space left on device"), "{told}");
    assert!(told.contains("  hint: "), "{told}");
}

#[test]
fn colour_is_for_those_who_ask() {
    let sandbox = Sandbox::with_inventory();
    let is_colored = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = sandbox.command(arguments);
        command.envs(variable).stdin(Stdio::null());
        let output = command.output().unwrap();
        [output.stdout, output.stderr].concat().contains(&b'\x1b')
    };
    assert!(!is_colored(&["up"], None), "a pipe is no terminal");
    assert!(is_colored(&["up", "--color", "always"], None));
    assert!(is_colored(&["up"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(!is_colored(&["up", "--color", "never"], Some(("CLICOLOR_FORCE", "1"))));
    assert!(is_colored(&["config", "validate", "-i", "nowhere", "--color", "always"], None));
    assert!(!is_colored(&["up", "--output", "json", "--color", "always"], None), "JSON never is");
}

/// The developer's log goes to standard error, and only where it is asked for.
#[test]
fn logs_keep_out_of_the_output() {
    let sandbox = Sandbox::with_inventory();
    let output = sandbox.command(&["config", "validate"]).env("KBOOT_LOG", "trace").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), sandbox.kboot(&["config", "validate"]).stdout);
}
