//! The hosts, and how a test reaches them: kboot from the controller's side, a shell as root on each host.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::command::{Done, Running};

/// How long anything but a run of kboot's may take.
const SHORT: Duration = Duration::from_secs(120);
/// How long a run of kboot's may take: longer than it waits for anything itself, so that it tells why.
pub const RUN: Duration = Duration::from_secs(450);

/// A lab of three bare hosts; gone when this is dropped.
pub struct Lab {
    /// Where the lab keeps inventory, keys and the hosts' disks.
    pub folder: PathBuf,
    /// Where the binary under test was taken from.
    pub origin: PathBuf,
    own: tempfile::TempDir,
    /// Hosts that no longer are as they were when they were booted first.
    touched: RefCell<BTreeSet<String>>,
    /// All that kboot has said.
    spoken: RefCell<Vec<Done>>,
    _lock: std::fs::File,
}

impl Lab {
    /// Why the tests can't run here, in one line.
    pub fn check() -> Result<(), String> {
        let done = Running::start(testbed(&["check"]), "").wait(SHORT);
        let why = done.text().trim().replace("testbed: ", "");
        if done.code == Some(0) { Ok(()) } else { Err(why) }
    }

    /// Boots three hosts. What a killed run left is cleaned first.
    pub fn up() -> Result<Self, String> {
        Self::up_with(3)
    }

    pub fn up_with(hosts: usize) -> Result<Self, String> {
        let lock = locked()?;
        let own = tempfile::tempdir().map_err(|error| error.to_string())?;
        let binary = binary();
        // A copy: the one that is there may be built anew meanwhile.
        std::fs::copy(&binary, own.path().join("kboot")).map_err(|error| {
            format!("{}: {error}; build it first (`cargo build --release`) or set KBOOT_BIN", binary.display())
        })?;
        down_when_interrupted();
        let folder = std::env::var_os("KBOOT_LAB_DIR").map_or("/var/lib/kboot-testbed".into(), PathBuf::from);
        let folder = folder.join(name());
        let lab =
            Self { folder, origin: binary, own, touched: RefCell::default(), spoken: RefCell::default(), _lock: lock };
        if is_reused() {
            lab.touch(&["n1", "n2", "n3"]);
        }
        let hosts = hosts.to_string();
        let mut up = vec!["up", "--hosts", &hosts];
        if !is_reused() {
            up.push("--fresh");
        }
        // The first time, everything is built.
        let done = Running::start(testbed(&up), "").wait(Duration::from_secs(3600));
        if done.code == Some(0) { Ok(lab) } else { Err(done.to_string()) }
    }

    /// The binary under test.
    pub fn kboot_path(&self) -> PathBuf {
        self.own.path().join("kboot")
    }

    /// A path for a file of the test's own, gone with the lab.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.own.path().join(name)
    }

    /// The inventory of the booted hosts.
    pub fn inventory(&self) -> String {
        self.folder.join("inventory.yaml").display().to_string()
    }

    /// The inventory with changes, in a file beside it so that its relative paths hold.
    pub fn inventory_with(&self, name: &str, change: impl FnOnce(&mut serde_yaml::Value)) -> String {
        let text = std::fs::read_to_string(self.inventory()).expect("the lab is up");
        let mut inventory = serde_yaml::from_str(&text).expect("it is YAML");
        change(&mut inventory);
        let path = self.folder.join(format!("e2e-{name}.yaml"));
        let text = serde_yaml::to_string(&inventory).expect("it is plain data");
        std::fs::write(&path, text).expect("the lab's folder is writable");
        path.display().to_string()
    }

    /// The inventory with these hosts only.
    pub fn inventory_of(&self, hosts: &[&str]) -> String {
        self.inventory_with(&hosts.join("-"), |inventory| {
            let list = inventory["hosts"].as_sequence_mut().expect("it has hosts");
            list.retain(|host| host["name"].as_str().is_some_and(|name| hosts.contains(&name)));
        })
    }

    /// Runs a verb of the testbed's.
    #[track_caller]
    pub fn testbed(&self, arguments: &[&str]) -> Done {
        Running::start(testbed(arguments), "").wait(SHORT)
    }

    /// Runs a command where the hosts can be reached.
    #[track_caller]
    pub fn exec(&self, argv: &[&str]) -> Done {
        Running::start(inside(argv), "").wait(SHORT)
    }

    /// Runs kboot where the hosts can be reached, to its end.
    #[track_caller]
    pub fn kboot(&self, arguments: &[&str]) -> Done {
        self.finish(self.start_kboot(arguments))
    }

    /// Starts a command where the hosts can be reached.
    pub fn start(&self, argv: &[&str]) -> Running {
        Running::start(inside(argv), "")
    }

    pub fn start_kboot(&self, arguments: &[&str]) -> Running {
        let path = self.kboot_path();
        let mut argv = vec![path.to_str().expect("temporary folders have plain names")];
        argv.extend(arguments);
        self.start(&argv)
    }

    /// Waits for a started kboot.
    #[track_caller]
    pub fn finish(&self, running: Running) -> Done {
        let done = running.wait(RUN);
        self.spoken.borrow_mut().push(done.clone());
        done
    }

    /// The same, of a command that prints a secret because it is asked for one: not kept among what kboot has said.
    #[track_caller]
    pub fn kboot_secretly(&self, arguments: &[&str]) -> Done {
        self.start_kboot(arguments).wait(RUN)
    }

    /// The administrator's kubeconfig, in a file on this side.
    #[track_caller]
    pub fn admin_conf(&self) -> String {
        let path = self.scratch("admin.conf");
        let text = self.on("n1", "cat /etc/kubernetes/admin.conf").ok().stdout;
        std::fs::write(&path, text).expect("it is the tests' own folder");
        path.display().to_string()
    }

    /// Runs a shell script as root on a host.
    #[track_caller]
    pub fn on(&self, host: &str, script: &str) -> Done {
        self.start_on(host, script).wait(RUN)
    }

    pub fn start_on(&self, host: &str, script: &str) -> Running {
        let shell: &[&str] = if host == "n3" { &["sudo", "sh", "-s"] } else { &["sh", "-s"] };
        let mut arguments = vec!["shell", host];
        arguments.extend(shell);
        Running::start(testbed(&arguments), script)
    }

    /// The same, of a script that runs kboot there.
    #[track_caller]
    pub fn kboot_on(&self, host: &str, arguments: &str) -> Done {
        self.kboot_line(host, &format!("exec </dev/null /usr/local/bin/kboot {arguments}"))
    }

    /// The same, of a shell line that runs it.
    #[track_caller]
    pub fn kboot_line(&self, host: &str, line: &str) -> Done {
        self.touch(&[host]);
        let done = self.on(host, line);
        self.spoken.borrow_mut().push(done.clone());
        done
    }

    /// Copies a file to a host.
    #[track_caller]
    pub fn put(&self, host: &str, file: &Path, to: &str, mode: &str) {
        self.touch(&[host]);
        let config = self.folder.join("ssh_config");
        let argv = ["scp", "-q", "-F", &config.to_string_lossy(), &file.to_string_lossy(), &format!("{host}:{to}")];
        self.exec(&argv).ok();
        self.on(host, &format!("chmod {mode} {to}")).ok();
    }

    /// All that kboot has said so far.
    pub fn spoken(&self) -> Vec<Done> {
        self.spoken.borrow().clone()
    }

    /// Notes that hosts are not bare any more.
    pub fn touch(&self, hosts: &[&str]) {
        self.touched.borrow_mut().extend(hosts.iter().map(ToString::to_string));
    }

    /// curl, which tests use on a host and kboot does not bring.
    #[track_caller]
    pub fn install_curl(&self, host: &str) {
        self.on(host, "command -v curl || apt-get install -qq -y --no-install-recommends curl").ok();
    }

    /// Makes these hosts bare again where they are not.
    #[track_caller]
    pub fn bare(&self, hosts: &[&str]) {
        let touched: Vec<&str> = hosts.iter().copied().filter(|host| self.touched.borrow().contains(*host)).collect();
        if touched.len() == 3 {
            // All of them at once is quicker than one after the other.
            self.testbed(&["up", "--fresh"]).ok();
            self.touched.borrow_mut().clear();
            return;
        }
        for host in touched {
            self.testbed(&["host", "reset", host]).ok();
            self.touched.borrow_mut().remove(host);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("KBOOT_E2E_KEEP").is_none() && !is_reused() {
            take_down();
        }
    }
}

/// Go on with the lab that an earlier run kept: only the named tests run, and what they need is taken for done.
pub fn is_reused() -> bool {
    std::env::var_os("KBOOT_E2E_REUSE").is_some()
}

/// Two runs would take each other's hosts away.
fn locked() -> Result<std::fs::File, String> {
    let path = std::env::temp_dir().join(format!("kboot-e2e-{}.lock", name()));
    let lock = std::fs::File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    lock.try_lock().map_err(|_| format!("another run of these tests holds {}", path.display()))?;
    Ok(lock)
}

fn name() -> String {
    std::env::var("KBOOT_LAB").unwrap_or_else(|_| "e2e".into())
}

fn testbed(arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/testbed"));
    command.args(arguments).env("KBOOT_LAB", name());
    command
}

/// The command becomes the very process that is started, so that a signal reaches it.
fn inside(argv: &[&str]) -> Command {
    let mut command = testbed(&["exec"]);
    command.args(argv);
    // What a developer has set must not decide what is tested.
    for name in ["KUBECONFIG", "SSH_AUTH_SOCK", "NO_COLOR", "CLICOLOR_FORCE", "KBOOT_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Where cargo puts the release build of this checkout.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KBOOT_BIN") {
        return path.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    target.join("x86_64-unknown-linux-gnu/release/kboot")
}

fn take_down() {
    // Not in the way of the result: the next run cleans what is left.
    let _ = testbed(&["down"]).stderr(std::process::Stdio::null()).status();
}

/// Ctrl-C and kill leave nothing behind either.
fn down_when_interrupted() {
    std::thread::spawn(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a signal can be awaited");
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut end = signal(SignalKind::terminate()).expect("the signal can be had");
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = end.recv() => {} }
        });
        IS_INTERRUPTED.store(true, Ordering::Relaxed);
        take_down();
        std::process::exit(130);
    });
}

static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A lab that is taken down fails every test: nothing more is told, and the end is near.
pub fn park_if_interrupted() {
    while IS_INTERRUPTED.load(Ordering::Relaxed) {
        std::thread::park();
    }
}
