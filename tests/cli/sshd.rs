//! A real sshd on loopback that lets nobody in.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use camino::Utf8Path;

use super::sandbox::Sandbox;
use super::skips::skip;

/// Ends with the test.
pub struct Sshd {
    child: Child,
    pub port: u16,
}

impl Sshd {
    /// With the sandbox's `host_key`, which is made. None, with a word about it, where no sshd is installed.
    pub fn start(sandbox: &Sandbox) -> Option<Self> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Utf8Path::new(path).exists());
        let Some(program) = program else {
            skip("there is no sshd on this machine (openssh-server)");
            return None;
        };
        // sshd as root insists on this one, which its service unit makes otherwise.
        let _ = std::fs::create_dir_all("/run/sshd");
        sandbox.key("host_key", "").file("nobody", "");
        let (key, nobody) = (sandbox.path("host_key"), sandbox.path("nobody"));
        // Another test may take the port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\nAuthorizedKeysFile {nobody}\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            );
            sandbox.file("sshd_config", config);
            let mut command = Command::new(program);
            command
                .args(["-D", "-e", "-f"])
                .arg(sandbox.path("sshd_config"))
                .stdin(Stdio::null())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            if log.any(|line| line.contains("Server listening on")) {
                std::thread::spawn(move || log.count());
                return Some(Self { child, port });
            }
            let _ = child.wait();
        }
        panic!("sshd did not start");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line of known_hosts by which a server on this port is known by the key in this file of the sandbox.
pub fn record(sandbox: &Sandbox, port: u16, key: &str) -> String {
    let public = std::fs::read_to_string(sandbox.path(&format!("{key}.pub"))).unwrap();
    format!("[127.0.0.1]:{port} {public}")
}
