//! The cluster's own settings: its name, version, certificates, components, images, SSH.

use std::collections::BTreeSet;

use super::Findings;
use crate::inventory::format::{self, Flaw};
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Component, Period};
use crate::inventory::versions::{self, Version};
use crate::inventory::words;

/// Longer is a typing error, and X.509 ends with the year 9999.
const LONGEST_VALIDITY: Period = Period::years(100);

const PATH_TYPES: [&str; 7] =
    ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    findings.take(&Path::of("name"), format::label(&cluster.name));
    findings.take(&Path::of("kubernetes.version"), version(&cluster.kubernetes.version));
    certificates(cluster, findings);
    let parts = &cluster.control_plane;
    for (name, component) in [
        ("apiServer", &parts.api_server),
        ("controllerManager", &parts.controller_manager),
        ("scheduler", &parts.scheduler),
        ("etcd", &parts.etcd),
    ] {
        check_component(component, &Path::of("controlPlane").key(name), findings);
    }
    images(cluster, findings);
    findings.take(&Path::of("ssh.user"), user(&cluster.ssh.user));
}

/// A login name. Looser than any one system's rule: it must only be safe to hand on.
pub fn user(name: &str) -> Result<(), Flaw> {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '\\' | '+');
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(is_safe) {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a user's name", quote(name)));
    Err(match name.contains('@') {
        true => flaw.hint("only the user; the host is in `hosts`"),
        false => flaw.hint("for example `root`"),
    })
}

fn version(text: &str) -> Result<(), Flaw> {
    let Some(version) = Version::parse(text) else {
        let flaw = Flaw::new(format!("{} is not an exact version", quote(text)));
        return Err(match text {
            _ if Version::parse_number(text).is_some() => flaw.hint(format!("with the `v`: `v{text}`")),
            _ if Version::parse_number(text.trim_start_matches(['v', 'V'])).is_some() => {
                flaw.hint(format!("write `v{}`", text.trim_start_matches(['v', 'V'])))
            }
            _ if text.contains(['-', '+']) => {
                flaw.hint("pre-releases and other builds have no packages; take a release")
            }
            _ => flaw.hint("with all three numbers, as `v1.37.2`"),
        });
    };
    match version.release() {
        Some(_) => Ok(()),
        None => Err(Flaw::new(format!("Kubernetes {version} is not supported"))
            .hint(format!("this kboot knows {}", versions::supported()))),
    }
}

fn certificates(cluster: &Cluster, findings: &mut Findings) {
    let certificates = &cluster.certificates;
    let (ca, leaf) = (Path::of("certificates.caValidity"), Path::of("certificates.validity"));
    for (path, period) in [(&ca, certificates.ca_validity), (&leaf, certificates.validity)] {
        if period.hours == 0 {
            findings.add(Mistake::new(path.clone(), "must be longer than nothing").hint("for example `1y`"));
        }
        if period.hours > LONGEST_VALIDITY.hours {
            findings.add(Mistake::new(path.clone(), format!("{period} is longer than {LONGEST_VALIDITY}")));
        }
    }
    if findings.is_intact(&ca) && certificates.validity.hours > certificates.ca_validity.hours {
        let (leaf_validity, ca_validity) = (certificates.validity, certificates.ca_validity);
        let message = format!("{leaf_validity} is longer than the certificate authority's {ca_validity}");
        findings.add(Mistake::new(leaf, message).hint("a certificate is worth nothing once its authority has expired"));
    }
    for (index, name) in certificates.extra_sans.iter().enumerate() {
        findings.take(&Path::of("certificates.extraSANs").index(index), format::alternative_name(name));
    }
}

fn check_component(component: &Component, path: &Path, findings: &mut Findings) {
    for (flag, value) in &component.extra_args {
        let path = path.key("extraArgs").key(flag);
        if let Err(flaw) = flag_name(flag) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        if value.contains(['\n', '\0']) {
            findings.add(Mistake::new(path, "must be a single line"));
        }
    }
    environment(component, &path.key("extraEnvs"), findings);
    let (mut names, mut mounts) = (BTreeSet::new(), BTreeSet::new());
    for (index, volume) in component.extra_volumes.iter().enumerate() {
        let path = path.key("extraVolumes").index(index);
        findings.take(&path.key("name"), format::label(&volume.name));
        findings.take(&path.key("hostPath"), absolute(&volume.host_path));
        findings.take(&path.key("mountPath"), absolute(&volume.mount_path));
        if let Some(kind) = &volume.path_type
            && !PATH_TYPES.contains(&kind.as_str())
        {
            let message = format!("{} is no type of host path", quote(kind));
            let hint = words::did_you_mean(kind, &PATH_TYPES)
                .unwrap_or_else(|| format!("the types are `{}`", PATH_TYPES.join("`, `")));
            findings.add(Mistake::new(path.key("pathType"), message).hint(hint));
        }
        for (field, value, seen) in [("name", &volume.name, &mut names), ("mountPath", &volume.mount_path, &mut mounts)]
        {
            let path = path.key(field);
            if findings.is_intact(&path) && !seen.insert(value) {
                findings.add(Mistake::new(path, format!("{} is used twice", quote(value))));
            }
        }
    }
}

fn environment(component: &Component, path: &Path, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, variable) in component.extra_envs.iter().enumerate() {
        let path = path.index(index).key("name");
        // Kubernetes' rule for the names of variables.
        let is_name = !variable.name.is_empty() && variable.name.chars().all(|c| c.is_ascii_graphic() && c != '=');
        if !is_name {
            let message = format!("{} is not a variable's name", quote(&variable.name));
            findings.add(Mistake::new(path, message).hint("for example `HTTPS_PROXY`"));
        } else if !seen.insert(&variable.name) {
            findings.add(Mistake::new(path, format!("{} is there twice", quote(&variable.name))));
        }
    }
}

pub(super) fn flag_name(flag: &str) -> Result<(), Flaw> {
    let is_plain = |flag: &str| {
        flag.starts_with(|c: char| c.is_ascii_alphanumeric())
            && flag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if is_plain(flag) {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a flag's name", quote(flag)));
    let bare = flag.trim_start_matches('-');
    Err(match bare.split_once('=') {
        Some((name, value)) if is_plain(name) => {
            flaw.hint(format!("the value comes after a colon: `{name}: \"{value}\"`"))
        }
        _ if is_plain(bare) => flaw.hint(format!("without the dashes: `{bare}`")),
        _ => flaw.hint("for example `audit-log-maxage`"),
    })
}

fn absolute(path: &str) -> Result<(), Flaw> {
    let is_clean = path.starts_with('/') && !path.contains(['\n', '\0', ':']) && !path.split('/').any(|p| p == "..");
    if is_clean {
        return Ok(());
    }
    Err(Flaw::new(format!("{} is not an absolute path", quote(path)))
        .hint("for example `/etc/ssl/extra`, without `..` and `:`"))
}

fn images(cluster: &Cluster, findings: &mut Findings) {
    findings.take(&Path::of("images.repository"), repository(&cluster.images.repository));
    for (registry, mirror) in &cluster.images.mirrors {
        let path = Path::of("images.mirrors").key(registry);
        if let Err(flaw) = self::registry(registry) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        findings.take(&path, super::packages::web_address(mirror, "http://10.0.0.1:5000"));
    }
}

/// `host[:port]`
fn registry(text: &str) -> Result<(), Flaw> {
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    if crate::inventory::endpoint::split_endpoint(text).is_some() && format::host(host).is_ok() {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a registry's name", quote(text)));
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    Err(match bare != text && !bare.is_empty() {
        true => flaw.hint(format!("only the host, and the port if there is one: `{bare}`")),
        false => flaw.hint("for example `registry.k8s.io`"),
    })
}

/// `host[:port][/path]`
pub(super) fn repository(text: &str) -> Result<(), Flaw> {
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
    };
    if registry(host).is_ok() && (!text.contains('/') || path.split('/').all(part)) {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a registry and path", quote(text)));
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    Err(match bare != text && repository(bare).is_ok() {
        true => flaw.hint(format!("write `{bare}`")),
        false => flaw.hint("for example `registry.k8s.io` or `registry.example.com:5000/k8s`"),
    })
}
