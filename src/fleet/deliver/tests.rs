use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::Utf8Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fleet::ssh::{Keyring, connect};
use crate::fleet::testing::{Sshd, sshd};

/// Says its first line, its arguments, and what it is sent.
const SCRIPT: &str = "#!/bin/sh\necho KBOOT-AGENT 1\necho \"arguments: $*\"\ncat\necho bye\n";

fn agent(sshd: &Sshd, script: &str) -> AgentBinary {
    let file = sshd.path("program");
    std::fs::write(&file, script).unwrap();
    AgentBinary::of(file, std::env::consts::ARCH).unwrap()
}

async fn start(sshd: &Sshd, agent: &AgentBinary, sudo: bool) -> Result<(Connection, Process)> {
    let target = Target { user: sshd.stranger().user, ..sshd.target() };
    let connection = connect(&target, &Keyring::default()).await?;
    let folder = sshd.path("host/agent");
    let place = Place { folder: folder.as_str(), sudo, stays: true };
    let process = start_in(&connection, &Target { user: "admin".into(), ..target }, agent, &place).await?;
    Ok((connection, process))
}

async fn failure(sshd: &Sshd, agent: &AgentBinary, sudo: bool) -> Failure {
    match start(sshd, agent, sudo).await {
        Ok(_) => panic!("the agent started"),
        Err(failure) => failure,
    }
}

async fn converse(mut process: Process) -> String {
    process.stdin.write_all(b"hello\n").await.unwrap();
    process.stdin.shutdown().await.unwrap();
    let mut said = String::new();
    process.stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(process.status.wait().await.code, Some(0));
    said
}

fn listing(folder: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> = match folder.read_dir_utf8() {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name().to_owned()).collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    names
}

/// An sshd whose sessions find these programs, given as shell scripts, before all others.
fn sshd_with(programs: &[(&str, &str)]) -> Option<Sshd> {
    let sshd = Sshd::start(&["ed25519"], "ForceCommand PATH={folder}/tools:$PATH; eval \"$SSH_ORIGINAL_COMMAND\"\n")?;
    let tools = sshd.path("tools");
    std::fs::create_dir(&tools).unwrap();
    for (name, script) in programs {
        let file = tools.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Some(sshd)
}

#[tokio::test]
async fn uploads_once_and_removes_what_went_before() {
    let sshd = sshd!();
    let (folder, agent) = (sshd.path("host/agent"), agent(&sshd, SCRIPT));
    let name = format!("kboot-{}", agent.digest());
    std::fs::create_dir_all(&folder).unwrap();
    for (leftover, age) in [("kboot-0000", 0), (".upload.old", 7200), (".upload.now", 0)] {
        let file = std::fs::File::create(folder.join(leftover)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    let (connection, process) = start(&sshd, &agent, false).await.unwrap();
    assert_eq!(converse(process).await, "arguments: agent\nhello\nbye\n");
    assert_eq!(listing(&folder), [".upload.now".to_owned(), name.clone()], "an upload under way is left alone");
    let placed = std::fs::metadata(folder.join(&name)).unwrap();
    assert_eq!(std::fs::read(folder.join(&name)).unwrap(), SCRIPT.as_bytes());
    assert_eq!(placed.permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    drop(connection);

    let (_connection, process) = start(&sshd, &agent, false).await.unwrap();
    assert_eq!(converse(process).await, "arguments: agent\nhello\nbye\n");
    assert_eq!(std::fs::metadata(folder.join(&name)).unwrap().ino(), placed.ino(), "it was uploaded again");
}

#[tokio::test]
async fn a_dropped_connection_ends_the_agent() {
    let sshd = sshd!();
    let ended = sshd.path("ended");
    let agent = agent(&sshd, &format!("#!/bin/sh\necho KBOOT-AGENT 1\ncat\ntouch {ended}\n"));
    let (connection, process) = start(&sshd, &agent, false).await.unwrap();
    drop(connection);
    for _ in 0..500 {
        if ended.exists() {
            return drop(process);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the agent still waits for input");
}

#[tokio::test]
async fn carries_a_large_program() {
    let sshd = sshd!();
    let agent = agent(&sshd, &format!("{SCRIPT}exit\n#{}", "x".repeat(20_000_000)));
    let (_connection, process) = start(&sshd, &agent, false).await.unwrap();
    assert_eq!(converse(process).await, "arguments: agent\nhello\nbye\n");
}

#[tokio::test]
async fn becomes_root_through_sudo() {
    // As far as the flags go that are relied on.
    let Some(sshd) = sshd_with(&[("sudo", "test \"$1 $2\" = '-n --' && shift 2 && AS=root exec \"$@\"")]) else {
        return;
    };
    let agent = agent(&sshd, &SCRIPT.replace("arguments: $*", "as $AS: $*"));
    let (_connection, process) = start(&sshd, &agent, true).await.unwrap();
    assert_eq!(converse(process).await, "as root: agent\nhello\nbye\n");
}

#[tokio::test]
async fn says_why_sudo_did_not_work() {
    for (sudo, cause, hint) in [
        ("echo 'sudo: a password is required' >&2; exit 1", "admin can't become root without a password", "NOPASSWD"),
        (
            "echo 'admin is not in the sudoers file.' >&2; exit 1",
            "admin can't become root without a password",
            "NOPASSWD",
        ),
        ("echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1", "sudo wants a terminal", "requiretty"),
        ("exit 127", "exit code 127", "by hand"),
    ] {
        let Some(sshd) = sshd_with(&[("sudo", sudo)]) else { return };
        let failure = failure(&sshd, &agent(&sshd, SCRIPT), true).await;
        assert!(failure.cause.contains(cause), "{failure:?}");
        assert!(failure.hint.as_ref().unwrap().to_string().contains(hint), "{failure:?}");
        assert!(listing(&sshd.path("host")).is_empty());
    }
}

#[tokio::test]
async fn says_that_sudo_is_missing() {
    let config = "ForceCommand PATH={folder}/tools; eval \"$SSH_ORIGINAL_COMMAND\"\n";
    let Some(sshd) = Sshd::start(&["ed25519"], config) else { return };
    std::fs::create_dir(sshd.path("tools")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", sshd.path("tools/env")).unwrap();
    let failure = failure(&sshd, &agent(&sshd, SCRIPT), true).await;
    assert_eq!(failure.cause, "sudo is not installed, and admin is not root");
    assert!(failure.evidence.iter().any(|line| line.contains("sudo")), "{failure:?}");
}

#[tokio::test]
async fn finds_the_agents_line_behind_what_a_shell_prints() {
    for noise in ["Welcome to n1", "Welcome to n1\n\nYou have mail.\nLast login: never\n"] {
        let config = "ForceCommand cat {folder}/noise; eval \"$SSH_ORIGINAL_COMMAND\"\n";
        let Some(sshd) = Sshd::start(&["ed25519"], config) else { return };
        std::fs::write(sshd.path("noise"), noise).unwrap();
        let (_connection, process) = start(&sshd, &agent(&sshd, SCRIPT), false).await.unwrap();
        assert_eq!(converse(process).await, "arguments: agent\nhello\nbye\n");
    }
}

#[tokio::test]
async fn shows_what_was_printed_instead_of_the_agents_line() {
    let Some(sshd) = Sshd::start(&["ed25519"], "ForceCommand echo This account is not available.; exit 1\n") else {
        return;
    };
    let failure = failure(&sshd, &agent(&sshd, SCRIPT), false).await;
    assert!(failure.cause.contains("ended before it said anything (exit code 1)"), "{failure:?}");
    assert_eq!(failure.evidence, ["This account is not available."]);
}

#[tokio::test]
async fn gives_up_on_endless_noise() {
    let Some(sshd) = Sshd::start(&["ed25519"], "ForceCommand yes\n") else { return };
    let failure = failure(&sshd, &agent(&sshd, SCRIPT), false).await;
    assert!(failure.cause.contains("prints without end"), "{failure:?}");
}

#[tokio::test]
async fn refuses_another_architecture_before_uploading() {
    let sshd = sshd!();
    std::fs::write(sshd.path("program"), SCRIPT).unwrap();
    let agent = AgentBinary::of(sshd.path("program"), "m68k").unwrap();
    let failure = failure(&sshd, &agent, false).await;
    assert_eq!(failure.cause, format!("n1 is a {} machine, and this kboot is built for m68k", std::env::consts::ARCH));
    assert!(listing(&sshd.path("host")).is_empty());
}

#[tokio::test]
async fn says_why_an_upload_failed_and_leaves_nothing() {
    // A real full device: writing to it fails with ENOSPC.
    let full = "test \"$1\" = \"${1%agent*}\" && exec /usr/bin/mktemp \"$@\"; ln -sf /dev/full \"${1%.XXXXXX}.full\"; echo \"${1%.XXXXXX}.full\"";
    for (tool, script, cause, evidence) in [
        ("mktemp", full, "no space in", "No space left on device"),
        ("mktemp", "echo \"mktemp: $1: Read-only file system\" >&2; exit 1", "read-only file system", "mktemp"),
        ("sha256sum", "cat > /dev/null; echo 0000 -", "arrived damaged", "Filesystem"),
        // Neither does a file without any execute bit run, not even for root.
        ("chmod", "test \"$1\" = 755 || exec /bin/chmod \"$@\"", "does not allow programs to run", "Filesystem"),
        ("mkdir", "echo 'mkdir: Not a directory' >&2; exit 1", "can't make the folder", "Not a directory"),
    ] {
        let Some(sshd) = sshd_with(&[(tool, script)]) else { return };
        // Larger than what a channel holds, so that the upload is cut short where the host does not read it.
        let agent = agent(&sshd, &format!("{SCRIPT}exit\n#{}", "x".repeat(5_000_000)));
        let failure = failure(&sshd, &agent, false).await;
        assert!(failure.cause.contains(cause), "{failure:?}");
        assert!(failure.evidence.iter().any(|line| line.contains(evidence)), "{failure:?}");
        assert!(failure.hint.is_some(), "{failure:?}");
        assert_eq!(listing(&sshd.path("host/agent")), [""; 0], "{cause}");
    }
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing() {
    let sshd = sshd!();
    let folder = sshd.path("host/agent");
    let connection = connect(&sshd.target(), &Keyring::default()).await.unwrap();
    let digest = "0".repeat(64);
    let mut process = connection.spawn(&script::upload(folder.as_str(), &digest, false, true)).await.unwrap();
    process.stdin.write_all(&[1; 100_000]).await.unwrap();
    let wait = async |empty: bool| {
        for _ in 0..500 {
            if listing(&folder).is_empty() == empty {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    };
    assert!(wait(false).await, "the upload has not begun");
    drop(connection);
    assert!(wait(true).await, "left behind: {:?}", listing(&folder));
}

#[test]
fn knows_its_own_program() {
    let current = AgentBinary::current().unwrap();
    assert_eq!(current.digest().len(), 64);
    assert_eq!(current.size(), std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len());
    assert_eq!(current.architecture(), std::env::consts::ARCH);
    let folder = tempfile::tempdir().unwrap();
    let file = Utf8Path::from_path(folder.path()).unwrap().join("abc");
    std::fs::write(&file, "abc").unwrap();
    // FIPS 180-2's example.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(AgentBinary::of(file, "x86_64").unwrap().digest(), expected);
}
