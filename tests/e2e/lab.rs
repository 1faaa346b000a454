//! The hosts, and how a test reaches them: kboot from the controller's side, a shell as root on each host.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::command::{Done, Running, words_are_disguised};

/// How long anything but a run of kboot's may take.
const SHORT: Duration = Duration::from_secs(300);
/// How long a run of kboot's may take: longer than it waits for anything itself, so that it tells why.
pub const RUN: Duration = Duration::from_secs(600);

/// Settings of the machine, not of a host: a kubelet sets them, and a reset restores them, for all hosts. Where several hosts share the
/// machine, the settings have the kubelet's values from the start. The last lab to go restores the machine's own.
const MACHINES: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

/// A lab of hosts; gone when this is dropped.
pub struct Lab {
    pub name: String,
    /// Where the lab keeps inventory, keys and the hosts' disks.
    pub folder: PathBuf,
    /// Where the binary under test was taken from.
    pub origin: PathBuf,
    /// The network namespace from which the hosts can be reached.
    namespace: RefCell<String>,
    own: tempfile::TempDir,
    /// All that kboot has said since the hosts were bare.
    spoken: RefCell<Vec<Done>>,
    /// What the test that runs has measured.
    notes: RefCell<Vec<String>>,
    _lock: std::fs::File,
}

impl Lab {
    /// Why the tests can't run here, in one line.
    pub fn check() -> Result<(), String> {
        let done = Running::start(testbed(&base_name(), &["check"]), "").wait(SHORT);
        let why = done.text().trim().replace("testbed: ", "");
        if done.code == Some(0) { Ok(()) } else { Err(why) }
    }

    /// A lab that nobody else uses, without hosts yet.
    pub fn new(name: &str) -> Result<Self, String> {
        let lock = locked(name)?;
        let own = tempfile::tempdir().map_err(|error| error.to_string())?;
        let binary = binary();
        // A copy: the one that is there may be built anew meanwhile.
        std::fs::copy(&binary, own.path().join("kboot")).map_err(|error| {
            format!("{}: {error}; build it first (`cargo build --release`) or set KBOOT_BIN", binary.display())
        })?;
        LABS.lock().unwrap_or_else(|labs| labs.into_inner()).push(name.to_owned());
        let lab = Self {
            name: name.to_owned(),
            folder: labs_folder().join(name),
            origin: binary,
            namespace: RefCell::default(),
            own,
            spoken: RefCell::default(),
            notes: RefCell::default(),
            _lock: lock,
        };
        lab.empty_scratch()?;
        Ok(lab)
    }

    /// Boots so many bare hosts, whatever was there; `more` is what else `testbed up` is told.
    pub fn fresh(&self, hosts: usize, more: &[&str]) -> Result<(), String> {
        self.spoken.borrow_mut().clear();
        self.empty_scratch()?;
        self.up(&[&["up", "--fresh", "--hosts", &hosts.to_string()], more].concat())
    }

    /// Boots the hosts that an earlier run kept, where they are not up any more.
    pub fn up_again(&self) -> Result<(), String> {
        let hosts = self.hosts();
        if hosts == 0 {
            return Err(format!("no run has kept the lab {}", self.name));
        }
        self.up(&["up", "--hosts", &hosts.to_string()])
    }

    fn up(&self, arguments: &[&str]) -> Result<(), String> {
        // The first time, everything is built.
        let done = Running::start(testbed(&self.name, arguments), "").wait(Duration::from_secs(3600));
        if done.code != Some(0) {
            return Err(done.to_string());
        }
        let path = self.folder.join("env");
        let env = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let namespace = env.lines().find_map(|line| line.strip_prefix("NETNS=")).unwrap_or_default();
        self.namespace.replace(namespace.to_owned());
        if words_are_disguised() {
            // No agent has the environment of this process.
            (1..=self.hosts())
                .for_each(|number| drop(self.on(&format!("n{number}"), "touch /run/kboot.disguise").ok()));
        }
        let labs = LABS.lock().unwrap_or_else(|labs| labs.into_inner()).len();
        if labs > 1 || self.hosts() > 1 {
            for (name, value) in MACHINES {
                let path = Path::new("/proc/sys").join(name);
                std::fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(())
    }

    /// How many hosts the lab has, booted or not.
    fn hosts(&self) -> usize {
        std::fs::read_dir(self.folder.join("hosts")).map_or(0, Iterator::count)
    }

    fn empty_scratch(&self) -> Result<(), String> {
        let folder = self.own.path().join("scratch");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))
    }

    /// The binary under test.
    pub fn kboot_path(&self) -> PathBuf {
        self.own.path().join("kboot")
    }

    /// A path for a file of the test's own, gone when the hosts are bare again.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.own.path().join("scratch").join(name)
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
        Running::start(testbed(&self.name, arguments), "").wait(SHORT)
    }

    /// Runs a command where the hosts can be reached.
    #[track_caller]
    pub fn exec(&self, argv: &[&str]) -> Done {
        Running::start(self.inside(argv), "").wait(SHORT)
    }

    /// Runs kboot where the hosts can be reached, to its end.
    #[track_caller]
    pub fn kboot(&self, arguments: &[&str]) -> Done {
        self.finish(self.start_kboot(arguments))
    }

    /// Starts a command where the hosts can be reached.
    pub fn start(&self, argv: &[&str]) -> Running {
        Running::start(self.inside(argv), "")
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

    /// The testbed's own `exec` takes many times as long, so only labs that need more than the namespace use it. The command becomes
    /// the very process that is started, so that a signal reaches it.
    fn inside(&self, argv: &[&str]) -> Command {
        let mut command = if self.folder.join("upstream").is_dir() {
            testbed(&self.name, &["exec"])
        } else {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &self.namespace.borrow()]);
            command
        };
        command.args(argv);
        // What a developer has set must not decide what is tested.
        for name in ["KUBECONFIG", "SSH_AUTH_SOCK", "NO_COLOR", "CLICOLOR_FORCE", "KBOOT_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a shell script as root on a host.
    #[track_caller]
    pub fn on(&self, host: &str, script: &str) -> Done {
        self.start_on(host, script).wait(RUN)
    }

    pub fn start_on(&self, host: &str, script: &str) -> Running {
        let shell: &[&str] = if host == "n3" { &["sudo", "sh", "-s"] } else { &["sh", "-s"] };
        let config = self.folder.join("ssh_config").display().to_string();
        Running::start(self.inside(&[&["ssh", "-F", &config, host], shell].concat()), script)
    }

    /// The same, of a script that runs kboot there.
    #[track_caller]
    pub fn kboot_on(&self, host: &str, arguments: &str) -> Done {
        self.kboot_line(host, &format!("exec </dev/null /usr/local/bin/kboot {arguments}"))
    }

    /// The same, of a shell line that runs it.
    #[track_caller]
    pub fn kboot_line(&self, host: &str, line: &str) -> Done {
        let done = self.on(host, line);
        self.spoken.borrow_mut().push(done.clone());
        done
    }

    /// Copies a file to a host.
    #[track_caller]
    pub fn put(&self, host: &str, file: &Path, to: &str, mode: &str) {
        let config = self.folder.join("ssh_config");
        let argv = ["scp", "-q", "-F", &config.to_string_lossy(), &file.to_string_lossy(), &format!("{host}:{to}")];
        self.exec(&argv).ok();
        self.on(host, &format!("chmod {mode} {to}")).ok();
    }

    /// All that kboot has said so far.
    pub fn spoken(&self) -> Vec<Done> {
        self.spoken.borrow().clone()
    }

    /// What a test has measured is told under its line.
    pub fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    /// curl, which tests use on a host and kboot does not bring.
    #[track_caller]
    pub fn install_curl(&self, host: &str) {
        self.on(host, "command -v curl || apt-get install -qq -y --no-install-recommends curl").ok();
    }

    /// What the cluster looks like, for the report of a failed test: its nodes, its pods, and what they complain of.
    pub fn cluster_state(&self) -> String {
        let script = "command -v kubectl >/dev/null && test -e /etc/kubernetes/admin.conf || exit 0\n\
            kubectl() { timeout 20 kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s \"$@\"; }\n\
            kubectl get nodes,pods -A -o wide && kubectl get events -A --sort-by=.metadata.creationTimestamp | tail -n 40";
        std::panic::catch_unwind(AssertUnwindSafe(|| self.start_on("n1", script).wait(SHORT)))
            .map(|done| done.text())
            .unwrap_or_default()
    }

    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("KBOOT_E2E_KEEP").is_none() && !is_reused() {
            take_down(&self.name);
        }
    }
}

/// Go on with the lab that an earlier run kept: only the named tests run, and what they start from is taken to be there.
pub fn is_reused() -> bool {
    std::env::var_os("KBOOT_E2E_REUSE").is_some()
}

/// Two runs would take each other's hosts away.
fn locked(name: &str) -> Result<std::fs::File, String> {
    let path = std::env::temp_dir().join(format!("kboot-e2e-{name}.lock"));
    let lock = std::fs::File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    lock.try_lock().map_err(|_| format!("another run of these tests holds {}", path.display()))?;
    Ok(lock)
}

/// What the names of a run's labs begin with.
pub fn base_name() -> String {
    std::env::var("KBOOT_LAB").unwrap_or_else(|_| "e2e".into())
}

fn labs_folder() -> PathBuf {
    std::env::var_os("KBOOT_LAB_DIR").map_or("/var/lib/kboot-testbed".into(), PathBuf::from)
}

/// Takes down the labs that an earlier run had beside these, and was killed.
pub fn down_others(names: &[String]) {
    let base = base_name();
    let entries = std::fs::read_dir(labs_folder()).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let number = name.strip_prefix(&base).unwrap_or_default();
        let is_ours = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_ours && !names.contains(&name) && !is_reused() {
            take_down(&name);
        }
    }
}

/// GiB of memory that are to be had.
pub fn available_gib() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<usize> = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.unwrap_or_default() >> 20
}

fn testbed(lab: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/testbed"));
    command.args(arguments).env("KBOOT_LAB", lab);
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

/// The labs of this process.
static LABS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn take_down(name: &str) {
    // Not in the way of the result: the next run cleans what is left.
    let _ = testbed(name, &["down"]).stderr(std::process::Stdio::null()).status();
}

/// Ctrl-C and kill leave nothing behind either; `say` tells what there is to be told until then.
pub fn down_when_interrupted(say: impl FnOnce() + Send + 'static) {
    std::thread::spawn(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a signal can be awaited");
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut end = signal(SignalKind::terminate()).expect("the signal can be had");
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = end.recv() => {} }
        });
        IS_INTERRUPTED.store(true, Ordering::Relaxed);
        say();
        let labs = LABS.lock().unwrap_or_else(|labs| labs.into_inner()).clone();
        let downs: Vec<_> = labs.into_iter().map(|name| std::thread::spawn(move || take_down(&name))).collect();
        downs.into_iter().for_each(|down| drop(down.join()));
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
