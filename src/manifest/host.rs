//! A host's own files: container runtime, package sources, kernel modules and settings.

use std::collections::BTreeMap;

use serde_json::json;

use super::kubelet::{CgroupDriver, RUNTIME_ENDPOINT};
use super::template::{RenderError, Template, render};
use crate::inventory::{Cluster, Host, Repository};

/// Kernel modules that must be loaded, now and at boot.
pub const MODULES: [&str; 2] = ["overlay", "br_netfilter"];

/// Kernel settings that must hold, now and at boot.
pub const SYSCTLS: [(&str, &str); 3] = [
    ("net.bridge.bridge-nf-call-iptables", "1"),
    ("net.bridge.bridge-nf-call-ip6tables", "1"),
    ("net.ipv4.ip_forward", "1"),
];

/// `/etc/containerd/config.toml`. `must_restrict_oom_score`: containerd lacks CAP_SYS_RESOURCE, as in a container.
pub fn containerd_config(
    cluster: &Cluster,
    driver: CgroupDriver,
    must_restrict_oom_score: bool,
) -> Result<String, RenderError> {
    let values = json!({
        "sandboxImage": cluster.image("pause"),
        "isSystemdCgroup": driver == CgroupDriver::Systemd,
        "mustRestrictOomScore": must_restrict_oom_score,
    });
    render(Template::ContainerdConfig, &values)
}

/// How a `hosts.toml` of kboot's begins, so that it is known when its registry has no mirror any more.
pub const MIRROR_MARK: &str = "# kboot: ";

/// `hosts.toml` of one registry (`registry.k8s.io`) that is pulled through a mirror (`http://10.0.0.1:5000`).
pub fn mirror_hosts(registry: &str, mirror: &str) -> Result<String, RenderError> {
    // Docker Hub's name in image references isn't where its registry answers.
    let server = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let values = json!({
        "mark": MIRROR_MARK,
        "registry": registry,
        "server": format!("https://{server}"),
        "mirror": mirror.trim_end_matches('/'),
    });
    render(Template::MirrorHosts, &values)
}

/// `/etc/crictl.yaml`
pub fn crictl_config() -> Result<String, RenderError> {
    render(Template::Crictl, &json!({"runtimeEndpoint": RUNTIME_ENDPOINT}))
}

/// A deb822 source for a repository whose placeholders are filled in; `key` is the keyring's path.
pub fn apt_source(repository: &Repository, key: &str) -> Result<String, RenderError> {
    // `components` isn't serialised when empty, but a template's variable must be there.
    let repository = json!({"url": repository.url, "suite": repository.suite, "components": repository.components});
    render(Template::AptSource, &json!({"repository": repository, "key": key}))
}

/// Preferences that take packages from the repository at `url`.
pub fn apt_pin(packages: &[&str], url: &str) -> Result<String, RenderError> {
    render(Template::AptPreferences, &json!({"packages": packages, "origin": origin(url)}))
}

/// A file of `/etc/modules-load.d`
pub fn modules_load() -> Result<String, RenderError> {
    render(Template::ModulesLoad, &json!({"modules": MODULES}))
}

/// The kernel settings of a host: those that must hold, and the inventory's.
pub fn sysctls(cluster: &Cluster, host: &Host) -> Vec<(String, String)> {
    let needed = SYSCTLS.map(|(key, value)| (key.to_string(), value.to_string()));
    let own = cluster.sysctls(host).into_iter().filter(|(key, _)| SYSCTLS.iter().all(|(needed, _)| needed != key));
    needed.into_iter().chain(own).collect()
}

/// A file of `/etc/sysctl.d`. `before` has the values that some had when kboot first set them.
pub fn sysctl_conf(sysctls: &[(String, String)], before: &BTreeMap<String, String>) -> Result<String, RenderError> {
    let sysctls: Vec<_> = sysctls
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value, "before": before.get(key).map(|old| was(key, old))}))
        .collect();
    render(Template::Sysctl, &json!({"sysctls": sysctls}))
}

/// What a file of [`sysctl_conf`] sets, and what it says of the values before.
pub fn parse_sysctl_conf(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut values, mut before) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines().map(str::trim) {
        let was =
            line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(WAS.1)).and_then(|rest| rest.split_once(WAS.0));
        if let Some((key, value)) = was {
            before.insert(key.to_string(), value.to_string());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            values.insert(key.trim().to_string(), value.trim().to_string());
        }
    }
    (values, before)
}

/// Around the value in a line that says what was there before.
const WAS: (&str, &str) = (" was ", " before kboot set it");

fn was(key: &str, value: &str) -> String {
    format!("# {key}{}{value}{}", WAS.0, WAS.1)
}

/// What apt calls a repository's origin: the URL's host, without user, port and brackets.
fn origin(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Packages;
    use crate::manifest::fixture;

    #[test]
    fn containerd_configuration() {
        insta::assert_snapshot!(containerd_config(&fixture::cluster(), CgroupDriver::Systemd, false).unwrap());
    }

    #[test]
    fn containerd_configuration_in_a_container_on_cgroup_v1() {
        insta::assert_snapshot!(containerd_config(&fixture::cluster(), CgroupDriver::Cgroupfs, true).unwrap());
    }

    #[test]
    fn mirrors() {
        insta::assert_snapshot!(mirror_hosts("registry.k8s.io", "http://10.77.0.1:5000/").unwrap());
        assert!(mirror_hosts("docker.io", "http://m").unwrap().contains("server = \"https://registry-1.docker.io\"\n"));
    }

    #[test]
    fn apt_sources() {
        let packages = Packages::default();
        let kubernetes = packages.kubernetes.expand("v1.37", "debian", "bookworm");
        insta::assert_snapshot!(
            "apt_source_flat",
            apt_source(&kubernetes, "/etc/apt/keyrings/kubernetes.asc").unwrap()
        );
        let containerd = packages.containerd.expand("v1.37", "debian", "bookworm");
        insta::assert_snapshot!("apt_source_suite", apt_source(&containerd, "/etc/apt/keyrings/docker.asc").unwrap());
        insta::assert_snapshot!("apt_pin", apt_pin(&["kubelet", "kubeadm"], &kubernetes.url).unwrap());
    }

    #[test]
    fn origins() {
        for (url, host) in [
            ("https://pkgs.k8s.io/core:/stable:/v1.37/deb/", "pkgs.k8s.io"),
            ("http://10.77.0.1:8080/kubernetes", "10.77.0.1"),
            ("http://user:word@repo.example.com:80", "repo.example.com"),
            ("http://[fd00::1]:80/x", "fd00::1"),
            ("file:///srv/repo", ""),
        ] {
            assert_eq!(origin(url), host);
        }
    }

    #[test]
    fn small_files() {
        insta::assert_snapshot!("crictl", crictl_config().unwrap());
        insta::assert_snapshot!("modules_load", modules_load().unwrap());
        let mut cluster = fixture::cluster();
        cluster.sysctls.insert("vm.max_map_count".into(), "262144".into());
        cluster.hosts[0].sysctls.insert("net.core.somaxconn".into(), "1024".into());
        // What must hold is there once.
        cluster.hosts[0].sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
        let wanted = sysctls(&cluster, &cluster.hosts[0]);
        let before = BTreeMap::from([("vm.max_map_count".to_string(), "65530".to_string())]);
        let text = sysctl_conf(&wanted, &before).unwrap();
        insta::assert_snapshot!("sysctl", text);
        assert_eq!(parse_sysctl_conf(&text), (wanted.into_iter().collect(), before));
    }
}
