//! Hosts that lie: whatever they say, no command passes a control character on to the terminal, nor lets a host forge a line.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kboot::engine::{Entry, Failure, Outcome, Record, RunInfo};
use serde_json::json;

use super::sandbox::{Sandbox, Told};
use super::sshd::{Sshd, record};

/// A clipboard's content, a cleared screen, a line that is overwritten, text that runs backwards, and a line of its own.
const LIE: &str =
    "\x1b]52;c;ZXZpbA==\x1b\\\x1b[2Jgood\rbad\u{9b}31m\u{202e}\u{2066}\u{2028}\x07\x7f\u{85}\nforged: yes";

/// A host that a real sshd leads to, and whose agent is a script that gives these answers. None where there is no sshd.
fn liar(answers: &[(&str, serde_json::Value)]) -> Option<(Sandbox, Sshd)> {
    let sandbox = Sandbox::with_inventory();
    let sshd = Sshd::start(&sandbox)?;
    let mut script = String::from("#!/bin/sh\necho KBOOT-AGENT 1\nwhile read -r line; do\n  case $line in\n");
    for (at, (request, answer)) in answers.iter().enumerate() {
        let file = format!("answer-{at}");
        sandbox.file(&file, format!("{answer}\n"));
        script += &format!("    *{request}*) cat {} ;;\n", sandbox.path(&file));
    }
    script += "  esac\ndone\n";
    sandbox.file("agent", script);
    let key = std::fs::read_to_string(sandbox.path("key.pub")).unwrap();
    // What sshd's configuration has for the keys that are let in.
    sandbox.file("nobody", format!("command=\"sh {}\" {key}", sandbox.path("agent")));
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let inventory = sandbox.inventory(sshd.port, "");
    sandbox.file(
        "inventory.yaml",
        inventory.replace("ssh: {identityFile", &format!("ssh: {{user: {}, identityFile", user.trim())),
    );
    sandbox.file("known_hosts", record(&sandbox, sshd.port, "host_key"));
    Some((sandbox, sshd))
}

fn is_clean(told: &Told) {
    for text in [&told.stdout, &told.stderr] {
        let hostile =
            |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!text.contains(hostile), "{text:?}");
        // A failure's further lines are indented, and a table has rows of kboot's own alone.
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{told}");
    }
}

#[test]
fn no_command_passes_on_what_a_host_says_in_a_failure() {
    let failure = Failure::new(LIE).evidence([LIE]).hint_text("run this");
    let told = |reply: &str, field: &str| json!({"reply": reply, field: {"Err": failure}});
    let answers = [("facts", told("facts", "facts")), ("read", told("read", "piece"))];
    let Some((sandbox, sshd)) = liar(&answers) else { return };
    let target = format!("root@127.0.0.1:{}", sshd.port);
    let commands: [&[&str]; 13] = [
        &["up"],
        &["up", "--verbose"],
        &["up", "-o", "json"],
        &["plan"],
        &["lock"],
        &["reset", "-i", "inventory.yaml", "--yes"],
        &["recover", "--from", "n1", "--yes"],
        &["history", "-i", "inventory.yaml"],
        &["history", "-i", "inventory.yaml", "-o", "json"],
        &["undo", "-i", "inventory.yaml", "--dry-run"],
        &["kubeconfig"],
        &["kubeconfig", "--merge", "merged.conf"],
        &["adopt", "--host", &target, "--identity-file", "key", "--known-hosts", "known_hosts"],
    ];
    for command in commands {
        let told = sandbox.kboot(command);
        assert_eq!(told.code, Some(1), "{told}");
        assert!(told.stdout.contains("good") || told.stderr.contains("good"), "it was told at all: {told}");
        assert!(!told.stdout.contains("run this") && !told.stderr.contains("run this"), "{told}");
        is_clean(&told);
    }
}

#[test]
fn neither_does_a_journal_nor_a_kubeconfig() {
    let record = |entry| serde_json::to_string(&Record { version: 3, run: "1a2".into(), at: 1, entry }).unwrap() + "\n";
    let info = RunInfo { id: "1a2".into(), command: format!("kboot up{LIE}"), owner: LIE.into(), ..RunInfo::default() };
    let (text, step) = (LIE.to_string(), LIE.to_string());
    let journal = record(Entry::Begin(info))
        + &record(Entry::Intent { change: 0, step, id: None, text, before: Vec::new(), wants: Default::default() })
        + &record(Entry::Failed { change: 0, cause: LIE.into(), after: Vec::new() })
        + &record(Entry::End { outcome: Outcome::Failed });
    let kubeconfig = format!(
        "# {LIE}\ncurrent-context: c\nclusters: [{{name: k, cluster: {{server: s, certificate-authority-data: WA==}}}}]\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nusers: [{{name: u, user: {{exec: {{command: sh}}}}}}]\n"
    );
    let read = |content: &str| json!({"reply": "read", "piece": {"Ok": {"content": STANDARD.encode(content), "inode": 1, "is_last": true}}});
    let Some((sandbox, _sshd)) = liar(&[("journal", read(&journal)), ("admin-conf", read(&kubeconfig))]) else {
        return;
    };
    for arguments in [
        ["history", "-i", "inventory.yaml"].as_slice(),
        &["history", "-i", "inventory.yaml", "--run", "1a2"],
        &["history", "-i", "inventory.yaml", "-o", "json"],
    ] {
        let told = sandbox.kboot(arguments);
        assert_eq!(told.code, Some(0), "{told}");
        assert!(told.stdout.contains("kboot up"), "{told}");
        is_clean(&told);
    }
    for arguments in [["kubeconfig"].as_slice(), &["kubeconfig", "--merge", "merged.conf"]] {
        let told = sandbox.kboot(arguments);
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "a command is never taken over: {told}");
        is_clean(&told);
        assert!(!sandbox.path("merged.conf").exists());
    }
}

/// A machine that nobody trusts yet speaks first of all.
#[test]
fn neither_does_a_stranger_s_key_exchange() {
    let sandbox = Sandbox::with_inventory();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.write_all(b"SSH-2.0-x\r\n");
            let _ = stream.write_all(&key_exchange());
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    sandbox.file("inventory.yaml", sandbox.inventory(port, ""));
    for arguments in [["hosts", "trust", "--yes"].as_slice(), &["up"], &["history", "-i", "inventory.yaml"]] {
        let told = sandbox.kboot(arguments);
        assert_eq!(told.code, Some(1), "{told}");
        assert!(told.stderr.contains("good") || told.stdout.contains("good"), "{told}");
        is_clean(&told);
    }
}

/// A KEXINIT packet (RFC 4253, 7.1) whose names lie, as far as ASCII goes: other names are no names.
fn key_exchange() -> Vec<u8> {
    let lie: String = LIE.chars().filter(char::is_ascii).collect();
    let lie = lie.as_str();
    let mut payload = vec![20];
    payload.extend([0; 16]);
    for names in [lie, lie, lie, lie, lie, lie, "none", "none", "", ""] {
        payload.extend(u32::try_from(names.len()).unwrap().to_be_bytes());
        payload.extend(names.as_bytes());
    }
    payload.extend([0; 5]);
    let padding = 8 - (5 + payload.len()) % 8 + 8;
    let mut packet = u32::try_from(1 + payload.len() + padding).unwrap().to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.extend(vec![0; padding]);
    packet
}
