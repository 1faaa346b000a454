//! What a person at a terminal is asked, and wrong answers.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::sandbox::{Sandbox, Told};
use super::skips::skip;
use super::sshd::{Sshd, record};

/// Runs it on a terminal of its own, whose person types `line` again and again: what is typed before the question is
/// thrown away. Both streams are one. None, with a word about it, where there is no `script`.
fn typing(sandbox: &Sandbox, arguments: &[&str], line: &str) -> Option<Told> {
    let inner = format!("{} {}", env!("CARGO_BIN_EXE_kboot"), arguments.join(" "));
    let mut command = sandbox.around("script", &["-qec", &inner, "/dev/null"]);
    command.env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        skip("there is no `script` on this machine (bsdutils)");
        return None;
    };
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, reading) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        screen.read_to_string(&mut text).unwrap();
        let _ = sender.send(text);
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    let stdout = loop {
        let _ = keyboard.write_all(format!("{line}\n").as_bytes());
        match reading.recv_timeout(Duration::from_millis(50)) {
            Ok(text) => break text.replace('\r', ""),
            Err(_) if Instant::now() > deadline => child.kill().unwrap(),
            Err(_) => {}
        }
    };
    let status = child.wait().unwrap();
    Some(Told { line: inner, code: status.code(), stdout, stderr: String::new() })
}

#[test]
fn a_wrong_passphrase_is_asked_again_and_then_refused() {
    let sandbox = Sandbox::with_inventory();
    let Some(sshd) = Sshd::start(&sandbox) else { return };
    sandbox.key("locked", "secret").file("known_hosts", record(&sandbox, sshd.port, "host_key"));
    sandbox.file("inventory.yaml", sandbox.inventory(sshd.port, "").replace("./key", "./locked"));
    let before = sandbox.state();
    let Some(told) = typing(&sandbox, &["up"], "guess") else { return };
    assert_eq!(told.code, Some(1), "{told}");
    let locked = sandbox.path("locked");
    assert!(told.stdout.contains(&format!("Passphrase of {locked}: ")), "{told}");
    assert!(told.stdout.contains(&format!("Passphrase of {locked} (that was not it): ")), "{told}");
    assert!(
        told.stdout.contains(&format!("error: n1: wrong passphrase for the key file {locked}\n  hint: ")),
        "{told}"
    );
    assert_eq!(sandbox.state(), before);

    // With the right one it is the host that refuses the key.
    let Some(told) = typing(&sandbox, &["up"], "secret") else { return };
    assert!(told.stdout.contains("refused to let root in with SHA256:"), "{told}");
}

#[test]
fn a_reset_wants_the_names_spelled_out() {
    let sandbox = Sandbox::with_inventory();
    let before = sandbox.state();
    let Some(told) = typing(&sandbox, &["reset", "-i", "inventory.yaml"], "yes") else { return };
    assert_eq!(told.code, Some(2), "{told}");
    assert!(told.stdout.contains("This takes n1 out of the cluster and destroys their state"), "{told}");
    assert!(told.stdout.contains("error: not confirmed; nothing was touched"), "{told}");
    assert_eq!(sandbox.state(), before);

    let Some(told) = typing(&sandbox, &["reset", "-i", "inventory.yaml"], "n1") else { return };
    assert_eq!(told.code, Some(1), "{told}");
    assert!(told.stdout.contains("127.0.0.1:1 refused the connection"), "{told}");
}

#[test]
fn host_keys_are_trusted_only_if_a_person_says_so() {
    let sandbox = Sandbox::with_inventory();
    let Some(sshd) = Sshd::start(&sandbox) else { return };
    sandbox.file("inventory.yaml", sandbox.inventory(sshd.port, ""));
    let before = sandbox.state();
    let Some(told) = typing(&sandbox, &["hosts", "trust"], "n") else { return };
    assert_eq!(told.code, Some(1), "{told}");
    assert!(told.stdout.contains("Trust these keys? [y/N] ") && told.stdout.contains("no key was added"), "{told}");
    assert_eq!(sandbox.state(), before);

    let Some(told) = typing(&sandbox, &["hosts", "trust"], "y") else { return };
    assert_eq!(told.code, Some(0), "{told}");
    assert!(std::fs::read_to_string(sandbox.path("known_hosts")).unwrap().contains("ssh-ed25519"), "{told}");
}
