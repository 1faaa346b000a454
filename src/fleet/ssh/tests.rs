use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use camino::Utf8Path;
use russh::keys::key::safe_rng;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::engine::Failure;
use crate::fleet::known_hosts;
use crate::fleet::testing::{Sshd, new_key, sshd, write_key};

async fn connected(sshd: &Sshd) -> Connection {
    connect(&sshd.target(), &Keyring::default()).await.unwrap()
}

async fn refusal(target: &Target) -> ConnectError {
    match connect(target, &Keyring::default()).await {
        Ok(_) => panic!("{} let us in", target.address()),
        Err(error) => error,
    }
}

fn hint(error: &ConnectError) -> String {
    Failure::from(error.clone()).hint.unwrap().to_string()
}

#[tokio::test]
async fn runs_commands() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let output = connection.exec("cat; echo to stderr >&2; exit 3", Some(b"in and out")).await.unwrap();
    assert_eq!((output.code, output.stdout.as_slice(), output.stderr.as_str()), (3, &b"in and out"[..], "to stderr\n"));
    let output = connection.exec("echo; cat", None).await.unwrap();
    assert_eq!((output.code, output.stdout.as_slice()), (0, &b"\n"[..]));
    connection.close().await;
}

#[tokio::test]
async fn stops_at_an_unknown_host_until_it_is_trusted() {
    let sshd = sshd!();
    let target = sshd.stranger();
    let ed25519 = sshd.host_key("ed25519");
    let error = refusal(&target).await;
    let ConnectError::HostKeyUnknown { algorithm, fingerprint, file, .. } = &error else { panic!("{error}") };
    assert_eq!((algorithm.as_str(), file), ("ssh-ed25519", &target.known_hosts));
    assert_eq!(*fingerprint, known_hosts::fingerprint(&ed25519));
    assert!(hint(&error).contains("kboot hosts trust"));
    assert!(!target.known_hosts.exists(), "looking at a key must not put it on record");

    let scanned = scan(&target).await.unwrap();
    let algorithms: Vec<&str> = scanned.iter().map(|key| key.algorithm.as_str()).collect();
    assert_eq!(algorithms, ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
    assert_eq!(scanned[0].key.key_data(), ed25519.key_data());
    assert_eq!(scanned[0].fingerprint, *fingerprint);
    for key in &scanned {
        known_hosts::add(&target.known_hosts, &target.host, target.port, &key.key).unwrap();
    }
    connect(&target, &Keyring::default()).await.unwrap();
}

#[tokio::test]
async fn asks_for_the_key_that_is_on_record() {
    let sshd = sshd!();
    let target = sshd.stranger();
    // Left to itself the host would show its ed25519 key, of which nothing is known.
    known_hosts::add(&target.known_hosts, &target.host, target.port, &sshd.host_key("ecdsa")).unwrap();
    connect(&target, &Keyring::default()).await.unwrap();
}

#[tokio::test]
async fn tells_a_changed_key() {
    let sshd = sshd!();
    let target = sshd.stranger();
    let other = new_key("ed25519").public_key().clone();
    std::fs::write(&target.known_hosts, "# known\n").unwrap();
    known_hosts::add(&target.known_hosts, &target.host, target.port, &other).unwrap();
    let error = refusal(&target).await;
    let ConnectError::HostKeyChanged(key) = &error else { panic!("{error}") };
    let ChangedKey { offered, expected, line, .. } = &**key;
    assert_eq!(*offered, known_hosts::fingerprint(&sshd.host_key("ed25519")));
    assert_eq!((expected, *line), (&known_hosts::fingerprint(&other), 2));
    assert!(error.to_string().contains(&format!("{}:2 ", target.known_hosts)), "{error}");
    let remove = format!("ssh-keygen -R '[127.0.0.1]:{}' -f {}", target.port, target.known_hosts);
    assert!(hint(&error).contains(&remove), "{}", hint(&error));
}

#[tokio::test]
async fn a_key_of_another_algorithm_is_a_changed_one() {
    let Some(sshd) = Sshd::start(&["ed25519"], "") else { return };
    let target = sshd.stranger();
    let gone = new_key("ecdsa").public_key().clone();
    known_hosts::add(&target.known_hosts, &target.host, target.port, &gone).unwrap();
    let error = refusal(&target).await;
    let ConnectError::HostKeyChanged(key) = &error else { panic!("{error}") };
    let ChangedKey { offered, expected, .. } = &**key;
    assert_eq!(*offered, known_hosts::fingerprint(&sshd.host_key("ed25519")));
    assert_eq!(*expected, known_hosts::fingerprint(&gone));
}

#[tokio::test]
async fn refuses_revoked_and_certified_keys() {
    let sshd = sshd!();
    let target = sshd.target();
    let key = sshd.host_key("ed25519").to_openssh().unwrap();
    let trusted = std::fs::read_to_string(&target.known_hosts).unwrap();
    std::fs::write(&target.known_hosts, format!("{trusted}@revoked * {key}\n")).unwrap();
    assert!(matches!(refusal(&target).await, ConnectError::HostKeyRevoked { line: 2, .. }));

    std::fs::write(&target.known_hosts, format!("@cert-authority * {key}\n")).unwrap();
    assert!(matches!(refusal(&target).await, ConnectError::HostKeyAuthority { line: 1, .. }));

    std::fs::write(&target.known_hosts, format!("[127.0.0.1]:{} ssh-ed25519 AAAA\n", target.port)).unwrap();
    assert!(matches!(refusal(&target).await, ConnectError::KnownHosts(known_hosts::Error::Line { line: 1, .. })));
}

#[tokio::test]
async fn a_pinned_key_goes_before_known_hosts() {
    let sshd = sshd!();
    let (ecdsa, ed25519) = (sshd.host_key("ecdsa"), sshd.host_key("ed25519"));
    let pinned = |pin: String| Target { host_key: Some(pin), ..sshd.stranger() };
    for pin in [
        ecdsa.to_openssh().unwrap(),
        format!("{} root@n1", ed25519.to_openssh().unwrap()),
        known_hosts::fingerprint(&ed25519),
        // Which algorithm it is for, a fingerprint does not tell.
        known_hosts::fingerprint(&ecdsa),
    ] {
        connect(&pinned(pin), &Keyring::default()).await.unwrap();
    }
    let other = new_key("ed25519").public_key().clone();
    for pin in [other.to_openssh().unwrap(), known_hosts::fingerprint(&other)] {
        let error = refusal(&pinned(pin)).await;
        assert!(
            matches!(&error, ConnectError::HostKeyNotPinned { expected, .. } if *expected == known_hosts::fingerprint(&other)),
            "{error}"
        );
    }
    assert!(matches!(refusal(&pinned("ssh-ed25519 AAAA".into())).await, ConnectError::BadPin { .. }));
}

#[tokio::test]
async fn says_which_key_was_refused() {
    let sshd = sshd!();
    let key = new_key("ed25519");
    let file = sshd.path("unwelcome");
    write_key(&file, &key);
    let target = Target { identity_file: Some(file.clone()), ..sshd.target() };
    let error = refusal(&target).await;
    assert!(!Failure::from(error.clone()).retryable);
    let ConnectError::AuthenticationRefused { user, tried, .. } = &error else { panic!("{error}") };
    assert_eq!(*user, target.user);
    assert_eq!(*tried, [format!("{} ({file})", known_hosts::fingerprint(key.public_key()))]);
    let copy = format!("ssh-copy-id -i {file} -p {} {user}@127.0.0.1", target.port);
    assert!(hint(&error).contains(&copy), "{}", hint(&error));
}

#[tokio::test]
async fn says_that_a_key_is_not_enough() {
    let sshd = sshd!("AuthenticationMethods publickey,publickey\n");
    let error = refusal(&sshd.target()).await;
    assert!(matches!(&error, ConnectError::MoreWanted { wanted, .. } if wanted == "publickey"), "{error}");
}

#[tokio::test]
async fn says_what_is_wrong_with_a_key_file() {
    let sshd = sshd!();
    let target = sshd.target();
    let file = sshd.path("identity");
    let broken = |text: &str, mode: u32| {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let target = Target { identity_file: Some(file.clone()), ..target.clone() };
        async move { refusal(&target).await }
    };
    let good = std::fs::read_to_string(sshd.path("key")).unwrap();
    let public = PrivateKeyText(&good).public();
    let truncated = good.replacen("AAAA", "", 1);

    let missing = Target { identity_file: Some(sshd.path("none")), ..target.clone() };
    assert!(matches!(refusal(&missing).await, ConnectError::Key(KeyError::Missing { .. })));
    let folder = Target { identity_file: Some(sshd.path("")), ..target.clone() };
    assert!(matches!(refusal(&folder).await, ConnectError::Key(KeyError::Unreadable { .. })));
    assert!(matches!(broken(&good, 0o640).await, ConnectError::Key(KeyError::TooOpen { mode: 0o640, .. })));
    assert!(matches!(broken("hello", 0o600).await, ConnectError::Key(KeyError::NotAKey { .. })));
    assert!(matches!(broken("", 0o600).await, ConnectError::Key(KeyError::NotAKey { .. })));
    assert!(matches!(broken(&truncated, 0o600).await, ConnectError::Key(KeyError::NotAKey { .. })));
    assert!(matches!(broken(&public, 0o644).await, ConnectError::Key(KeyError::PublicOnly { .. })));
    let rsa = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert!(matches!(broken(rsa, 0o600).await, ConnectError::Key(KeyError::Rsa { .. })));
    let nowhere = Target { identity_file: None, ..target.clone() };
    assert!(matches!(refusal(&nowhere).await, ConnectError::Key(KeyError::Nowhere)));
}

struct PrivateKeyText<'a>(&'a str);

impl PrivateKeyText<'_> {
    fn public(&self) -> String {
        russh::keys::PrivateKey::from_openssh(self.0).unwrap().public_key().to_openssh().unwrap()
    }
}

#[tokio::test]
async fn unlocks_a_key_once_for_all_hosts() {
    let sshd = sshd!();
    let key = new_key("ed25519");
    sshd.authorize(key.public_key());
    let file = sshd.path("locked");
    write_key(&file, &key.encrypt(&mut safe_rng(), "open sesame").unwrap());
    let target = Target { identity_file: Some(file.clone()), ..sshd.target() };

    let error = refusal(&target).await;
    assert!(matches!(&error, ConnectError::Key(KeyError::Locked { .. })), "{error}");
    assert!(hint(&error).contains(&format!("ssh-add {file}")));

    let wrong = Keyring::default().asking(|_, _| Some(SecretString::from("wrong")));
    let Err(error) = connect(&target, &wrong).await else { panic!("let in") };
    assert!(matches!(&error, ConnectError::Key(KeyError::WrongPassphrase { .. })), "{error}");

    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let keys = Keyring::default().asking(move |_, attempt| {
        counter.fetch_add(1, Ordering::Relaxed);
        Some(SecretString::from(if attempt == 0 { "a slip" } else { "open sesame" }))
    });
    let (first, second) = tokio::join!(connect(&target, &keys), connect(&target, &keys));
    first.unwrap();
    second.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 2, "one slip and one answer");
}

#[tokio::test]
async fn an_agent_signs_with_what_kboot_can_t() {
    let sshd = sshd!();
    let (socket, rsa) = (sshd.path("agent"), sshd.path("rsa"));
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("SSH_AUTH_SOCK", &socket).stdin(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{program} {arguments:?}");
    };
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa.as_str()]);
    let public = std::fs::read_to_string(format!("{rsa}.pub")).unwrap();
    sshd.authorize(&PublicKey::from_openssh(public.trim()).unwrap());
    let target = Target { identity_file: Some(rsa.clone()), ..sshd.target() };
    let error = refusal(&target).await;
    assert!(matches!(&error, ConnectError::Key(KeyError::Rsa { .. })), "{error}");

    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a", socket.as_str()]).stdout(Stdio::null()).spawn().unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let outcome = async {
        let keys = Keyring::default().agent(&socket);
        // An agent without the key changes nothing.
        assert!(matches!(connect(&target, &keys).await.err(), Some(ConnectError::Key(KeyError::Rsa { .. }))));
        run("ssh-add", &["-q", rsa.as_str()]);
        connect(&target, &keys).await?;
        let any = Target { identity_file: None, ..target.clone() };
        connect(&any, &keys).await
    };
    let outcome = outcome.await.map(drop);
    agent.kill().unwrap();
    agent.wait().unwrap();
    outcome.unwrap();
}

/// An agent of the test's own; ends with it.
struct TestAgent {
    child: std::process::Child,
    socket: Utf8PathBuf,
}

impl TestAgent {
    async fn start(socket: Utf8PathBuf) -> Self {
        let arguments = ["-D", "-a", socket.as_str()];
        let child = Command::new("ssh-agent").args(arguments).stdout(Stdio::null()).spawn().unwrap();
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { child, socket }
    }

    /// The agent lists its keys in the order in which they were added.
    fn add(&self, file: &Utf8Path) {
        let mut command = Command::new("ssh-add");
        command.args(["-q", file.as_str()]).env("SSH_AUTH_SOCK", &self.socket).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "ssh-add {file}");
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn all_keys_of_an_agent_are_tried_those_of_this_user_s_files_first() {
    let sshd = sshd!("MaxAuthTries 10\n");
    let agent = TestAgent::start(sshd.path("agent")).await;
    let keys: Vec<_> = (0..7).map(|_| new_key("ed25519")).collect();
    for (at, key) in keys.iter().enumerate() {
        let file = sshd.path(&format!("id-{at}"));
        write_key(&file, key);
        agent.add(&file);
    }
    let target = Target { identity_file: None, ..sshd.target() };
    let ring = || Keyring::default().agent(&agent.socket);
    let Some(ConnectError::AuthenticationRefused { tried, .. }) = connect(&target, &ring()).await.err() else {
        panic!("nobody is let in")
    };
    assert_eq!(tried.len(), 7);
    sshd.authorize(keys[6].public_key());
    connect(&target, &ring()).await.unwrap();

    // With sshd's own limit only the first ones get their turn.
    let sshd = sshd!();
    sshd.authorize(keys[6].public_key());
    let target = Target { identity_file: None, ..sshd.target() };
    let error = connect(&target, &ring()).await.err().expect("the host hangs up");
    assert!(matches!(error, ConnectError::TooManyKeys { count: 6, .. }), "{error}");
    assert!(!error.is_retryable() && error.hint().unwrap().contains("ssh.identityFile"), "{error}");
    let folder = sshd.path("home/.ssh");
    std::fs::create_dir_all(&folder).unwrap();
    // The private one is the agent's alone.
    std::fs::write(folder.join("id_ed25519"), keys[6].public_key().to_openssh().unwrap()).unwrap();
    connect(&target, &ring().home(sshd.path("home"))).await.unwrap();
}

#[tokio::test]
async fn takes_this_users_own_keys() {
    let sshd = sshd!();
    let folder = sshd.path("home/.ssh");
    std::fs::create_dir_all(&folder).unwrap();
    write_key(&folder.join("id_ed25519"), &new_key("ed25519"));
    let key = new_key("ecdsa");
    write_key(&folder.join("id_ecdsa"), &key);
    sshd.authorize(key.public_key());
    let target = Target { identity_file: None, ..sshd.target() };
    connect(&target, &Keyring::default().home(sshd.path("home"))).await.unwrap();
}

/// A listener that does `act` to each connection.
fn listener(act: impl Fn(std::net::TcpStream) + Send + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            act(stream);
        }
    });
    Target {
        name: "n1".into(),
        host: "127.0.0.1".into(),
        port,
        user: "root".into(),
        identity_file: None,
        known_hosts: "/nonexistent/known_hosts".into(),
        host_key: None,
        connect_timeout: Duration::from_secs(1),
    }
}

#[tokio::test]
async fn says_why_there_is_no_connection() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = Target { port: free, ..listener(drop) };
    let error = refusal(&refused).await;
    assert_eq!(error, ConnectError::Refused { address: format!("127.0.0.1:{free}") });
    assert!(Failure::from(error).retryable);

    let named = Target { host: "localhost".into(), ..refused.clone() };
    assert_eq!(refusal(&named).await, ConnectError::Refused { address: format!("localhost:{free}") });
    let nameless = Target { host: "-h".into(), ..refused };
    let error = refusal(&nameless).await;
    assert_eq!(error, ConnectError::Name { host: "-h".into() });
    assert!(!Failure::from(error).retryable);

    let hangs_up = refusal(&listener(drop)).await;
    assert!(matches!(&hangs_up, ConnectError::Closed { .. }), "{hangs_up}");

    let web = listener(|mut stream| {
        let mut request = [0; 16];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    let error = refusal(&web).await;
    assert!(matches!(&error, ConnectError::Closed { .. } | ConnectError::Unreachable { .. }), "{error}");

    let held = std::sync::Mutex::new(Vec::new());
    let silent = listener(move |stream| held.lock().unwrap().push(stream));
    let started = Instant::now();
    let error = refusal(&silent).await;
    assert!(matches!(&error, ConnectError::TimedOut { seconds: 1, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn names_a_record_that_it_cant_verify() {
    let target = listener(drop);
    let file = tempfile::NamedTempFile::new().unwrap();
    let rsa = "AAAAB3NzaC1yc2EAAAADAQABAAABAQC43yYHolySyvv9ZdOALgB6aKJzNfVg4Ktx6OlsvMNkxeIrMuVQjjo0J7eGNDi19bWaaFFhB0BOX7qZ92MAOBhyhcHQDbTDNNAhH0BwPmU+vXZLJ+K8PkVtuQMbFzeoEhFcoC6rYJs0EuhpM3w9c1rffKfUtImCuSKwJSoeD5sR+JK/hJoS3akKAOsDHl3jnNJSXCNfGy04MD6T+O39CwkaJcQRSd0SqKUqevAE2mjj8Qpdprklff/Xpt8kKimVN1sD5Yhvcbz74XeZfCsiyDC9180FVMeOuJ+UI2fSVBu5ZU1iUINpqrlQTgNd0r6Yh7sfBkx90S2lbqwqLMXaRs1r";
    std::fs::write(file.path(), format!("[127.0.0.1]:{} ssh-rsa {rsa}\n", target.port)).unwrap();
    let target = Target { known_hosts: Utf8Path::from_path(file.path()).unwrap().to_owned(), ..target };
    let error = refusal(&target).await;
    assert!(
        matches!(&error, ConnectError::HostKeyUnsupported { algorithm, line: 1, .. } if algorithm == "ssh-rsa"),
        "{error}"
    );
}

#[tokio::test]
async fn carries_thirty_megabytes_there_and_back() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let sent: Vec<u8> = (0..30_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let limits = Limits { time: Duration::from_secs(60), bytes: sent.len() };
    let output = connection.exec_within("cat", sent.as_slice(), limits).await.unwrap();
    assert!(output.stdout == sent, "{} bytes came back", output.stdout.len());
}

#[tokio::test]
async fn holds_a_command_to_its_limits() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let limits = Limits { time: Duration::from_millis(300), bytes: 1000 };
    let within = async |command: &str| connection.exec_within(command, tokio::io::empty(), limits).await;
    assert_eq!(within("sleep 5").await, Err(ExecError::TimedOut { seconds: 0 }));
    let limits = Limits { time: Duration::from_secs(20), bytes: 1000 };
    let within = async |command: &str| connection.exec_within(command, tokio::io::empty(), limits).await;
    assert_eq!(within("yes").await, Err(ExecError::TooMuch { bytes: 1000 }));
    assert_eq!(within("kill -9 $$").await, Err(ExecError::Killed { signal: "KILL".into() }));
    assert_eq!(within("head -c 1000 /dev/zero").await.unwrap().stdout.len(), 1000);
    // A command that does not read what it is given must not block the one who gives.
    let output = connection.exec_within("exit 7", tokio::io::repeat(1), limits).await.unwrap();
    assert_eq!(output.code, 7);
    let output = connection.exec("head -c 100000 /dev/zero | tr '\\0' x >&2", None).await.unwrap();
    assert_eq!(output.stderr.len(), 64 << 10);
}

#[tokio::test]
async fn a_process_reads_its_end_of_file() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let Process { mut stdin, mut stdout, mut status } = connection.spawn("cat; echo bye; exit 4").await.unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    let mut line = [0; 6];
    stdout.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"hello\n");
    stdin.shutdown().await.unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye\n");
    assert_eq!(status.wait().await.code, Some(4));
    assert!(stdin.write_all(b"more").await.is_err());
}

async fn appears(file: &Utf8Path) -> bool {
    for _ in 0..500 {
        if file.exists() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn dropping_the_connection_or_the_process_ends_it() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let (first, second) = (sshd.path("first"), sshd.path("second"));
    let process = connection.spawn(&format!("cat; touch {first}")).await.unwrap();
    let held = connection.spawn(&format!("cat; touch {second}")).await.unwrap();
    assert_eq!(connection.exec("true", None).await.unwrap().code, 0);
    assert!(!first.exists() && !second.exists());
    drop(process);
    assert!(appears(&first).await);
    assert!(!second.exists());
    drop(connection);
    assert!(appears(&second).await, "a process that is still held must end with its connection");
    assert_eq!(held.wait().await.code, None);
}

#[tokio::test]
async fn a_lost_connection_is_told() {
    let sshd = sshd!();
    let connection = connected(&sshd).await;
    let error = connection.exec("kill -9 $PPID; sleep 5", None).await.unwrap_err();
    assert!(matches!(error, ExecError::Lost { .. }), "{error}");
    assert!(Failure::from(error).retryable);
    let error = connection.exec("true", None).await.unwrap_err();
    assert!(matches!(error, ExecError::Lost { .. }), "{error}");
    assert!(connection.is_closed());
}
