//! Trees on a real disk. Those with mounts are made in a mount namespace of the test's own, which takes root.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// Set in the process that has a mount namespace of its own.
const INSIDE: &str = "KBOOT_TEST_MOUNTS";

/// What is put into a folder of the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File,
    /// To a folder outside of the tree.
    LinkOut,
    /// To the folder above.
    LinkUp,
    LinkToNothing,
    Tmpfs,
    /// A folder outside of the tree, on the same device.
    Bind,
    /// A file outside of the tree.
    BoundFile,
}

impl Node {
    fn is_mount(self) -> bool {
        matches!(self, Node::Tmpfs | Node::Bind | Node::BoundFile)
    }
}

fn node() -> impl Strategy<Value = Node> {
    use Node::*;
    prop_oneof![
        4 => Just(Folder),
        4 => Just(File),
        2 => prop_oneof![Just(LinkOut), Just(LinkUp), Just(LinkToNothing)],
        1 => prop_oneof![Just(Tmpfs), Just(Bind), Just(BoundFile)],
    ]
}

/// Each node with a number that says which of the folders so far it is put into; the first is the tree itself.
fn tree() -> impl Strategy<Value = Vec<(usize, Node)>> {
    proptest::collection::vec((any::<usize>(), node()), 1..14)
}

struct Made {
    _folder: tempfile::TempDir,
    at: Utf8PathBuf,
    mounts: Vec<Utf8PathBuf>,
}

impl Made {
    fn new(nodes: &[(usize, Node)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        std::fs::create_dir_all(at.join("outside/treasure")).unwrap();
        std::fs::write(at.join("outside/treasure/ledger"), "ten years").unwrap();
        let mut folders: Vec<Utf8PathBuf> = Vec::new();
        let mut mounts = Vec::new();
        for (number, (place, node)) in nodes.iter().enumerate() {
            let path = match folders.get(place.checked_rem(folders.len()).unwrap_or_default()) {
                Some(folder) => folder.join(number.to_string()),
                None => at.join("tree"),
            };
            let mount = |arguments: &[&str]| command("mount", arguments);
            match node {
                Node::Folder => std::fs::create_dir(&path).unwrap(),
                Node::File => std::fs::write(&path, "x").unwrap(),
                Node::LinkOut => symlink(at.join("outside/treasure"), &path).unwrap(),
                Node::LinkUp => symlink("..", &path).unwrap(),
                Node::LinkToNothing => symlink("nothing", &path).unwrap(),
                Node::Tmpfs => {
                    std::fs::create_dir(&path).unwrap();
                    mount(&["-t", "tmpfs", "volume", path.as_str()]);
                    std::fs::write(path.join("ledger"), "ten years").unwrap();
                }
                Node::Bind => {
                    std::fs::create_dir(&path).unwrap();
                    mount(&["--bind", at.join("outside/treasure").as_str(), path.as_str()]);
                }
                Node::BoundFile => {
                    std::fs::write(&path, "").unwrap();
                    mount(&["--bind", at.join("outside/treasure/ledger").as_str(), path.as_str()]);
                }
            }
            if *node == Node::Folder {
                folders.push(path.clone());
            }
            if node.is_mount() {
                mounts.push(path);
            }
            if folders.is_empty() {
                break;
            }
        }
        Self { _folder: folder, at, mounts }
    }

    /// All that can be seen, links not followed.
    fn state(&self, below: &str) -> BTreeMap<Utf8PathBuf, String> {
        let mut found = BTreeMap::new();
        look_around(&self.at.join(below), &mut found);
        found
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for point in self.mounts.iter().rev() {
            command("umount", &[point.as_str()]);
        }
    }
}

fn look_around(path: &Utf8Path, found: &mut BTreeMap<Utf8PathBuf, String>) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    let what = if metadata.is_dir() {
        for entry in path.read_dir_utf8().unwrap() {
            look_around(entry.unwrap().path(), found);
        }
        "folder".into()
    } else if metadata.is_symlink() {
        format!("link to {}", path.read_link_utf8().unwrap())
    } else {
        std::fs::read_to_string(path).unwrap()
    };
    found.insert(path.into(), what);
}

fn command(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Whether this process has a mount namespace of its own. If not, the test of this name is run in one, where that can be.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn has_own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |program: &std::ffi::OsStr| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).arg(program);
        unshare
    };
    let can = unshare("true".as_ref()).output().is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("{test} did not run: mounts take root and a mount namespace");
        return false;
    }
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let program = std::env::current_exe().unwrap();
    let output =
        unshare(program.as_os_str()).args([&name, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn a_tree_with_a_mount_stays_whole_and_any_other_goes() {
    if !has_own_mounts("a_tree_with_a_mount_stays_whole_and_any_other_goes") {
        return;
    }
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) }, |(nodes in tree())| {
        let mut made = Made::new(&nodes);
        let tree = made.at.join("tree");
        let (before, outside) = (made.state(""), made.state("outside"));
        if !made.mounts.is_empty() {
            let failure = remove(&tree).expect_err("a mount");
            let named = made.mounts.iter().any(|point| failure.cause.contains(&format!("mounted at {point} (")));
            prop_assert!(named, "{failure}");
            prop_assert_eq!(made.state(""), before);
            for point in std::mem::take(&mut made.mounts).iter().rev() {
                command("umount", &[point.as_str()]);
            }
        }
        remove(&tree).unwrap();
        prop_assert!(tree.symlink_metadata().is_err());
        prop_assert_eq!(made.state("outside"), outside);
        remove(&tree).expect("what is gone is gone");
    });
}

#[test]
fn links_are_removed_and_not_followed_and_those_above_lead_to_the_place() {
    use Node::*;
    let made = Made::new(&[(0, Folder), (0, LinkOut), (0, LinkUp), (0, Folder), (1, File), (1, LinkOut)]);
    let outside = made.state("outside");
    symlink(made.at.join("tree"), made.at.join("moved")).unwrap();
    remove(&made.at.join("moved/3")).unwrap();
    assert!(!made.at.join("tree/3").exists() && made.at.join("tree/1").is_symlink());
    remove(&made.at.join("moved")).unwrap();
    assert!(made.at.join("tree/1").is_symlink() && made.at.join("moved").symlink_metadata().is_err());
    remove(&made.at.join("tree")).unwrap();
    assert_eq!((made.state("tree").len(), made.state("outside")), (0, outside));
}

#[test]
fn a_folder_on_a_file_s_path_is_no_error_and_the_root_is() {
    let made = Made::new(&[(0, Node::File)]);
    remove(&made.at.join("tree/below")).unwrap();
    remove(&made.at.join("nowhere/below")).unwrap();
    for path in ["/", "/a/.."] {
        assert!(remove(path.into()).is_err(), "{path}");
    }
}

#[test]
fn a_deep_tree_goes() {
    let made = Made::new(&[]);
    let deep = (0..300).fold(made.at.join("tree"), |path, _| path.join("d"));
    std::fs::create_dir_all(&deep).unwrap();
    remove(&made.at.join("tree")).unwrap();
    assert!(!made.at.join("tree").exists());
}

#[test]
fn where_the_kernel_gives_no_mount_ids_its_table_tells() {
    let place = Place { kind: FileType::Directory, mount: None, device: (8, 1) };
    assert!(place.is_mounted_on(place, "/proc".into()).unwrap());
    assert!(!place.is_mounted_on(place, "/proc-of-mine".into()).unwrap());
    assert!(place.is_mounted_on(Place { device: (8, 2), ..place }, "/nowhere".into()).unwrap());
}
