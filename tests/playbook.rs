//! Playbooks as people write them: the good ones load, the bad ones are told in full.

use camino::{Utf8Path, Utf8PathBuf};
use kboot::inventory::{self, Cluster};
use kboot::playbook::{self, Playbook, PlaybookError};

const BAD: &str = "tests/playbook/bad";
const GOOD: &str = "tests/playbook/good";

fn files(folder: &str) -> Vec<Utf8PathBuf> {
    let entries = Utf8Path::new(folder).read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path());
    let mut files: Vec<Utf8PathBuf> = entries.filter(|path| path.extension() == Some("yaml")).collect();
    files.sort();
    files
}

/// n1 is the control plane, n2 and n3 are workers, and n3 has no `rack`.
fn cluster() -> Cluster {
    let text = "apiVersion: kboot/v1alpha1\nkind: Cluster\nvars: {zone: north}\nhosts:\n\
        - {name: n1, address: 10.0.0.1, roles: [control-plane], vars: {rack: 1}}\n\
        - {name: n2, address: 10.0.0.2, roles: [worker], vars: {rack: 2}}\n\
        - {name: n3, address: 10.0.0.3, roles: [worker]}\n";
    inventory::parse(text, "inventory.yaml".into()).unwrap()
}

/// As far as it can be told without asking a host.
fn checked(path: &Utf8Path) -> Result<Playbook, PlaybookError> {
    playbook::load_for(path, &cluster(), [])
}

fn snapshots(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder.trim_start_matches("tests/"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&format!(r"\b{folder}/"), "");
    settings
}

#[test]
fn bad_playbooks_are_told_in_full() {
    let files: Vec<Utf8PathBuf> =
        files(BAD).into_iter().filter(|file| !file.file_name().unwrap().starts_with('_')).collect();
    assert!(files.len() >= 25, "only {} files: is the folder whole?", files.len());
    snapshots(BAD).bind(|| {
        for file in &files {
            let Err(error) = checked(file) else { panic!("{file} was taken") };
            insta::assert_snapshot!(file.file_stem().unwrap(), error.to_string());
        }
    });
}

#[test]
fn every_mistake_has_its_own_place() {
    let Err(PlaybookError::Invalid(files)) = checked(&Utf8Path::new(BAD).join("many.yaml")) else {
        panic!("it is bad")
    };
    let [mistakes] = &files[..] else { panic!("it is one file") };
    let places: Vec<(usize, usize)> = mistakes.iter().map(|mistake| mistakes.position(mistake)).collect();
    assert!(places.len() >= 10 && places.is_sorted(), "{mistakes}");
}

#[test]
fn good_playbooks_are_shown_with_all_in_its_place() {
    snapshots(GOOD).bind(|| {
        for file in files(GOOD) {
            let playbook = checked(&file).unwrap_or_else(|error| panic!("{error}"));
            insta::assert_snapshot!(file.file_stem().unwrap(), playbook.to_yaml());
        }
    });
}

#[test]
fn the_schema_is_the_one_in_docs() {
    let path = "docs/playbook.schema.json";
    if std::env::var_os("KBOOT_BLESS").is_some() {
        std::fs::write(path, playbook::schema()).unwrap();
    }
    let hint = "run it with KBOOT_BLESS=1 to write it anew";
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), playbook::schema(), "{path}: {hint}");
}

/// A variable that only the playbook of the test uses is replaced by none of the others.
#[test]
fn the_inventory_and_the_command_line_have_the_last_word_on_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("p.yaml")).unwrap();
    let content = "{{ vars.zone }} {{ vars.rack }} {{ vars.own }} {{ vars.given }}";
    let text = format!(
        "name: p\nvars: {{zone: a, rack: b, own: c, given: d}}\nphases:\n- name: x\n  hosts: [n2, n3]\n  steps:\n  - template: {{path: /x, content: '{content}'}}\n"
    );
    std::fs::write(&path, text).unwrap();
    let (cluster, facts) = (cluster(), facts());
    let playbook = playbook::load_for(&path, &cluster, [("given".into(), "e".into())]).unwrap();
    let work = playbook.phase_steps(&cluster, [("n2", &facts), ("n3", &facts)]).unwrap();
    let shown = |host: &str| format!("{:?}", work.steps("x", host));
    assert!(shown("n2").contains("north 2 c e"), "{}", shown("n2"));
    assert!(shown("n3").contains("north b c e"), "{}", shown("n3"));
}

#[test]
fn a_fact_that_is_none_is_told_before_anything_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("p.yaml")).unwrap();
    let text = "name: p\nphases:\n- name: x\n  hosts: all\n  steps:\n  - template: {path: /x, content: '{{ facts.os.idd }}'}\n";
    std::fs::write(&path, text).unwrap();
    let (cluster, facts) = (cluster(), facts());
    let playbook = playbook::load_for(&path, &cluster, []).unwrap();
    let told = playbook.phase_steps(&cluster, [("n1", &facts)]).unwrap_err().to_string();
    assert!(told.contains("p.yaml:6:39: ") && told.contains("`facts.os.idd` is not defined"), "{told}");
    assert!(told.contains("did you mean `id`?"), "{told}");
}

/// What some host might be.
fn facts() -> kboot::facts::Facts {
    let value = serde_json::json!({
        "hostname": "n1", "machine_id": null, "product_uuid": null,
        "os": {"id": "debian", "id_like": [], "version_id": "12", "codename": "bookworm", "pretty_name": "Debian"},
        "architecture": "amd64", "kernel": "6.1.0", "is_systemd": true, "uid": 0, "cores": 2, "memory_bytes": 1,
        "swaps": [], "fstab_swaps": [], "cgroup": "v2", "has_sys_resource": true, "virtualization": null, "modules": {},
        "interfaces": [], "unplaced_addresses": [], "routes": [], "default_route": null, "listening": [],
        "time_unix_ms": 1, "executables": [], "packages": {}, "runtimes": [], "has_apt": true,
        "node": {"has_admin_conf": false, "has_kubelet_conf": false, "has_bootstrap_conf": false, "has_etcd_data": false,
                 "manifests": [], "ca": [], "server": null, "immutable": {"networks": []}},
        "free_bytes": null, "resolv_conf": "/etc/resolv.conf"
    });
    serde_json::from_value(value).unwrap()
}

#[test]
fn the_examples_are_good() {
    let examples = files("playbooks/examples");
    // Manifests are examples, too, but no playbooks.
    let playbooks: Vec<&Utf8PathBuf> =
        examples.iter().filter(|file| std::fs::read_to_string(file).unwrap().contains("\nphases:")).collect();
    assert!(!playbooks.is_empty());
    let (cluster, facts) = (cluster(), facts());
    for file in playbooks {
        let playbook = playbook::load_for(file, &cluster, []).unwrap_or_else(|error| panic!("{error}"));
        playbook.phase_steps(&cluster, [("n1", &facts), ("n3", &facts)]).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_task_is_documented_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(&playbook::schema()).unwrap();
    let fields = schema["$defs"]["Task"]["properties"].as_object().unwrap().keys().map(String::as_str);
    let mut tasks: Vec<&str> = fields.filter(|field| !["name", "parallel"].contains(field)).collect();
    tasks.sort_unstable();
    let page = std::fs::read_to_string("docs/playbooks.md").unwrap();
    let mut documented: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    documented.sort_unstable();
    assert_eq!(documented, tasks);
}
