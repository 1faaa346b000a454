//! A real sshd on loopback for tests, with its own keys, for the user who runs them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PublicKey};

use super::known_hosts;
use super::ssh::Target;

#[path = "../../tests/support/skips.rs"]
mod skips;

/// Ends with the test.
pub struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    user: String,
}

/// Starts an sshd, or says why it can't and returns from the test.
macro_rules! sshd {
    ($config:expr) => {
        match $crate::fleet::testing::Sshd::start(&["ed25519", "ecdsa"], &$config) {
            Some(sshd) => sshd,
            None => return,
        }
    };
    () => {
        sshd!("")
    };
}
pub(crate) use sshd;

impl Sshd {
    /// With `host_keys` of "ed25519" and "ecdsa", and more lines of sshd_config, in which `{folder}` is what [`Sshd::path`]
    /// begins with. `None` where no sshd is installed.
    pub fn start(host_keys: &[&str], config: &str) -> Option<Self> {
        let program =
            ["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"].into_iter().find(|path| Utf8Path::new(path).exists());
        let Some(program) = program else {
            skips::skip("there is no sshd on this machine (openssh-server)");
            return None;
        };
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned();
        if user == "root" {
            // sshd as root insists on this one, which its service unit makes otherwise.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        for kind in host_keys {
            write_key(&path.join(format!("host_{kind}")), &new_key(kind));
        }
        let key = new_key("ed25519");
        write_key(&path.join("key"), &key);
        std::fs::write(path.join("authorized_keys"), key.public_key().to_openssh().unwrap()).unwrap();

        // Another test may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut text = format!(
                "Port {port}\nListenAddress 127.0.0.1\nAuthorizedKeysFile {path}/authorized_keys\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nMaxStartups 100\n"
            );
            for kind in host_keys {
                text += &format!("HostKey {path}/host_{kind}\n");
            }
            std::fs::write(path.join("sshd_config"), text + &config.replace("{folder}", path.as_str())).unwrap();
            let mut command = Command::new(program);
            command.args(["-D", "-e", "-f"]).arg(path.join("sshd_config"));
            let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            if is_listening(&mut child) {
                return Some(Self { child, folder, port, user });
            }
            let _ = child.kill();
            child.wait().unwrap();
        }
        panic!("sshd did not start");
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    /// With the key that is let in, and a known_hosts file that does not exist yet.
    pub fn stranger(&self) -> Target {
        Target {
            name: "n1".into(),
            host: "127.0.0.1".into(),
            port: self.port,
            user: self.user.clone(),
            identity_file: Some(self.path("key")),
            known_hosts: self.path("known_hosts"),
            host_key: None,
            connect_timeout: Duration::from_secs(20),
        }
    }

    /// The same, with the host's ed25519 key on record.
    pub fn target(&self) -> Target {
        let target = self.stranger();
        known_hosts::add(&target.known_hosts, &target.host, target.port, &self.host_key("ed25519")).unwrap();
        target
    }

    pub fn host_key(&self, kind: &str) -> PublicKey {
        PrivateKey::read_openssh_file(self.path(&format!("host_{kind}"))).unwrap().public_key().clone()
    }

    /// Lets another key in.
    pub fn authorize(&self, key: &PublicKey) {
        let file = self.path("authorized_keys");
        let text = format!("{}\n{}\n", std::fs::read_to_string(&file).unwrap(), key.to_openssh().unwrap());
        std::fs::write(file, text).unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn new_key(kind: &str) -> PrivateKey {
    let algorithm = match kind {
        "ed25519" => Algorithm::Ed25519,
        "ecdsa" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        other => panic!("no {other} keys here"),
    };
    PrivateKey::random(&mut safe_rng(), algorithm).unwrap()
}

pub fn write_key(file: &Utf8Path, key: &PrivateKey) {
    key.write_openssh_file(file, LineEnding::LF).unwrap();
}

/// Waits for sshd's word that it listens, and reads its log away from then on.
fn is_listening(child: &mut Child) -> bool {
    let log = BufReader::new(child.stderr.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains("Server listening on") {
                let _ = sender.send(());
            }
        }
    });
    receiver.recv_timeout(Duration::from_secs(10)).is_ok()
}
