//! A folder in which the binary runs, as its home and with nothing of the tester's environment; and what it told there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

/// Where a run that was not refused would leave its traces.
const TOUCHED: [&str; 4] = ["/etc/kubernetes", "/var/lib/kboot", "/var/lib/kubelet", "/run/kboot.lock"];

pub struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a run told.
#[derive(Debug, Clone)]
pub struct Told {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With an inventory that is good as it stands: one host behind a port where nobody listens, and a key.
    pub fn with_inventory() -> Self {
        let sandbox = Self::new();
        sandbox.key("key", "").file("known_hosts", "").file("inventory.yaml", sandbox.inventory(1, ""));
        sandbox
    }

    /// One control plane on loopback.
    pub fn inventory(&self, port: u16, more: &str) -> String {
        format!(
            "apiVersion: kboot/v1alpha1\nkind: Cluster\nssh: {{identityFile: ./key, knownHosts: ./known_hosts, port: {port}}}\n\
             timeouts: {{connect: 20}}\nhosts:\n  - name: n1\n    address: 192.0.2.11\n    roles: [control-plane]\n    \
             ssh: {{address: 127.0.0.1}}\n{more}"
        )
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    /// A private key as ssh-keygen makes it, and its public half beside it.
    pub fn key(&self, name: &str, passphrase: &str) -> &Self {
        let file = self.path(name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f", file.as_str()]);
        assert!(keygen.stdin(Stdio::null()).status().expect("ssh-keygen (openssh-client)").success());
        self
    }

    pub fn mode(&self, name: &str, mode: u32) -> &Self {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.around(env!("CARGO_BIN_EXE_kboot"), arguments)
    }

    /// Another program that runs as kboot does here.
    pub fn around(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).env("KUBECONFIG", self.path("admin.conf"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    pub fn kboot(&self, arguments: &[&str]) -> Told {
        self.kboot_reading(arguments, "")
    }

    /// With this on standard input.
    pub fn kboot_reading(&self, arguments: &[&str], input: &str) -> Told {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end before it has read all.
        let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Told {
            line: format!("kboot {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// A run that must end with this exit code and leave everything as it was.
    pub fn untouched(&self, code: i32, arguments: &[&str]) -> Told {
        self.untouched_reading(code, arguments, "")
    }

    pub fn untouched_reading(&self, code: i32, arguments: &[&str], input: &str) -> Told {
        let before = self.state();
        let told = self.kboot_reading(arguments, input);
        assert_eq!(told.code, Some(code), "{told}");
        assert_eq!(self.state(), before, "{told}");
        told
    }

    /// Bad input: exit code 2, the reason on standard error and nothing on the other, nothing touched.
    pub fn refused(&self, arguments: &[&str]) -> Told {
        self.refused_reading(arguments, "")
    }

    pub fn refused_reading(&self, arguments: &[&str], input: &str) -> Told {
        let told = self.untouched_reading(2, arguments, input);
        assert_eq!(told.stdout, "", "{told}");
        assert!(told.stderr.starts_with("error: "), "{told}");
        told
    }

    /// All files with what they hold, and the traces elsewhere.
    pub fn state(&self) -> BTreeMap<Utf8PathBuf, String> {
        let mut state = BTreeMap::new();
        look(Utf8Path::from_path(self.folder.path()).unwrap(), true, &mut state);
        for path in TOUCHED {
            look(path.into(), false, &mut state);
        }
        state
    }
}

fn look(path: &Utf8Path, is_read: bool, state: &mut BTreeMap<Utf8PathBuf, String>) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    let mut told = format!("{:o}", metadata.permissions().mode());
    if metadata.is_dir() {
        let mut entries: Vec<_> = path.read_dir_utf8().unwrap().flatten().map(|e| e.into_path()).collect();
        entries.sort();
        for entry in entries {
            look(&entry, is_read, state);
        }
    } else if is_read {
        told += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
    } else {
        told += &format!(" {} {:?}", metadata.len(), metadata.modified().unwrap());
    }
    state.insert(path.to_owned(), told);
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("a signal".into(), |code| code.to_string());
        write!(f, "$ {}\nexit code: {code}\n--- stdout\n{}--- stderr\n{}", self.line, self.stdout, self.stderr)
    }
}

/// Compares with the snapshot of this name; what differs from run to run is replaced.
pub fn check(sandbox: &Sandbox, name: &str, told: &Told) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&sandbox.path("").as_str().trim_end_matches('/').replace('.', r"\."), "[folder]");
    settings.add_filter(r"(\[?127\.0\.0\.1\]?):\d{2,5}\b", "$1:[port]");
    settings.add_filter(r"-p \d{2,5} root@127", "-p [port] root@127");
    settings.add_filter(r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:[fingerprint]");
    settings.add_filter(r"\b\d+\.\d s\b", "[time]");
    settings.add_filter(r#""time":"[^"]+""#, r#""time":"[time]""#);
    settings.add_filter(r#""millis":\d+"#, r#""millis":[millis]"#);
    settings.bind(|| insta::assert_snapshot!(name, told.to_string()));
}
