//! The inventory as a file, and the files that it names, where it takes more than a checked-in file to show.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use kboot::inventory::{InventoryError, Loaded, load};

const HEAD: &str = "apiVersion: kboot/v1alpha1\nkind: Cluster\n";
const HOST: &str = "hosts: [{name: n1, address: 10.77.0.11, roles: [control-plane]}]\n";

/// A file that says of itself that it is a private key; nobody here looks further.
pub fn private_key(path: &Utf8Path, mode: u32) {
    fs_err::write(path, "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n").unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    fn load(&self, more: &str) -> Result<Loaded, String> {
        let file = self.path().join("inventory.yaml");
        fs_err::write(&file, format!("{HEAD}{more}\n{HOST}")).unwrap();
        load(&file).map_err(|error| error.to_string().replace(self.path().as_str(), "[folder]"))
    }
}

#[test]
fn an_identity_that_others_can_read_is_refused_as_ssh_does() {
    let folder = Folder::new();
    for mode in [0o644, 0o640, 0o604] {
        private_key(&folder.path().join("key"), mode);
        let told = folder.load("ssh: {identityFile: ./key}").unwrap_err();
        assert!(told.contains(&format!("`[folder]/key` is open to others (mode {mode:04o})")), "{told}");
        assert!(told.contains("hint: `chmod 600 [folder]/key`"), "{told}");
    }
    for mode in [0o600, 0o400] {
        private_key(&folder.path().join("key"), mode);
        assert!(folder.load("ssh: {identityFile: ./key}").is_ok());
    }
}

#[test]
fn a_putty_key_comes_with_its_conversion() {
    let folder = Folder::new();
    fs_err::write(folder.path().join("key.ppk"), "PuTTY-User-Key-File-3: ssh-ed25519\n").unwrap();
    let told = folder.load("ssh: {identityFile: key.ppk}").unwrap_err();
    assert!(told.contains("is not a private key") && told.contains("puttygen"), "{told}");
}

#[test]
fn what_is_no_plain_file_is_never_opened() {
    let folder = Folder::new();
    let told = folder.load("ssh: {identityFile: /dev/zero}").unwrap_err();
    assert!(told.contains("`/dev/zero` is not a file"), "{told}");
}

#[test]
fn paths_are_relative_to_the_inventory_and_to_the_home() {
    let folder = Folder::new();
    fs_err::create_dir(folder.path().join("keys")).unwrap();
    private_key(&folder.path().join("keys/id"), 0o600);
    let loaded = folder.load("ssh: {identityFile: ./keys/./id}").unwrap();
    assert_eq!(loaded.cluster.ssh.identity_file, Some(folder.path().join("keys/id").into_string()));
    let home = Utf8PathBuf::from(std::env::var("HOME").unwrap());
    assert_eq!(loaded.cluster.ssh.known_hosts, home.join(".ssh/known_hosts"));
    assert_eq!(loaded.path, folder.path().join("inventory.yaml"));
}

#[test]
fn what_is_no_inventory_file() {
    let folder = Folder::new();
    let path = folder.path();
    let error = load(&path.join("none.yaml")).unwrap_err();
    assert!(matches!(error, InventoryError::NotFound { .. }) && error.hint().is_some(), "{error}");
    assert_eq!(error.to_string(), format!("there is no inventory {path}/none.yaml"));
    let error = load(path).unwrap_err();
    assert_eq!(error.to_string(), format!("the inventory {path} is a folder, not a file"));
    let error = load(&path.join("none.yaml/x")).unwrap_err();
    assert!(matches!(error, InventoryError::NotFound { .. }), "{error}");
    fs_err::write(path.join("file"), "").unwrap();
    let error = load(&path.join("file/x")).unwrap_err();
    assert!(error.to_string().ends_with("cannot be read: a part of the path is not a folder"), "{error}");
    let error = load("/dev/zero".into()).unwrap_err();
    assert_eq!(error.to_string(), "the inventory /dev/zero has more than 8 MiB");
}

#[test]
fn an_unreadable_inventory() {
    // To root every file is readable: it runs this once more as nobody.
    if rustix::process::geteuid().is_root() {
        let mut again = Command::new("/proc/self/exe");
        let again = again.args(["--exact", "files::an_unreadable_inventory"]).uid(65534).gid(65534).output().unwrap();
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = Folder::new();
    let file = folder.path().join("inventory.yaml");
    fs_err::write(&file, HEAD).unwrap();
    fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    assert!(load(&file).unwrap_err().to_string().ends_with("cannot be read: permission denied"));
}

#[test]
fn a_private_key_given_as_the_inventory_is_not_printed() {
    let folder = Folder::new();
    let file = folder.path().join("key");
    private_key(&file, 0o600);
    let told = load(&file).unwrap_err().to_string();
    assert!(!told.contains("AAAA"), "{told}");
}

#[test]
fn an_archived_network_is_a_warning() {
    let folder = Folder::new();
    let warnings = folder.load("network: {cni: weave}").unwrap().warnings.to_string();
    assert!(warnings.contains(":3:16: network.cni: Weave Net is archived"), "{warnings}");
    assert!(warnings.ends_with(&format!("1 warning in {}/inventory.yaml", folder.path())), "{warnings}");
    assert!(folder.load("network: {cni: none}").unwrap().warnings.is_empty());
}

#[test]
fn an_even_number_of_etcd_s_hosts_is_a_warning() {
    let folder = Folder::new();
    let warnings = |count: u8| {
        let hosts = (1..=count).map(|n| format!("  - {{name: e{n}, address: 10.0.0.{n}, roles: [etcd]}}\n"));
        let control = "  - {name: a, address: 10.0.1.1, roles: [control-plane]}\n";
        let text = format!("apiVersion: kboot/v1alpha1\nkind: Cluster\nhosts:\n{control}{}", hosts.collect::<String>());
        let file = folder.path().join("etcd.yaml");
        fs_err::write(&file, text).unwrap();
        load(&file).unwrap().warnings.to_string()
    };
    assert!([0, 1, 3].into_iter().all(|count| warnings(count).starts_with("0 warnings")));
    let four = warnings(4);
    assert!(four.contains("hosts: 4 hosts have the role `etcd`, and a majority of them is 3"), "{four}");
    assert!(four.contains("no more of them may be lost than of 3"), "{four}");
}

/// The days until a key expires are counted from the day on which the test runs.
#[test]
fn a_key_file_that_expires_soon_is_warned_of_and_any_of_several_pins_may_be_in_it() {
    let folder = Folder::new();
    let keys = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory/keys");
    let warned = |file: &str, pins: &str| {
        fs_err::copy(keys.join(file), folder.path().join("k.asc")).unwrap();
        let repository = format!("{{url: http://10.77.0.1/k8s, suite: /, keyFile: ./k.asc{pins}}}");
        folder.load(&format!("packages: {{kubernetes: {repository}}}")).map(|loaded| loaded.warnings.to_string())
    };
    let lasting = "9EC232CB08C55571B233689F0C0A009681DF7306";
    let expired = warned("expired.asc", "").unwrap();
    assert!(expired.contains(" expired on 20") && expired.contains("its owner may have extended it"), "{expired}");
    let is_quiet = |warnings: String| warnings.starts_with("0 warnings");
    assert!(is_quiet(warned("lasting.gpg", "").unwrap()));
    // One that lasts is enough, and one that the file does not have is no mistake.
    let both = format!(", fingerprint: [21FCF7AEE824DA73E6D66E3A5E4A9B08C31E2C20, {lasting}]");
    assert!(is_quiet(warned("both.gpg", &both).unwrap()));
    assert!(is_quiet(warned("lasting.gpg", &both).unwrap()));
    let none = warned("expired.asc", &both).unwrap_err();
    assert!(none.contains(&format!("not 21FCF7AEE824DA73E6D66E3A5E4A9B08C31E2C20 or {lasting}")), "{none}");
}
