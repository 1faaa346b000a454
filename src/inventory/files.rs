//! The files that an inventory names: made absolute, so that nothing later needs the inventory's folder, and looked at,
//! so that a missing key is told now and not in the middle of a bootstrap.
//!
//! The only part that reads files besides the inventory itself. It never shows or keeps what a private key holds.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

use super::check::Findings;
use super::mistake::{Mistake, quote_path};
use super::one_or_many::OneOrMany;
use super::path::Path;
use super::types::{Cluster, ExternalEtcd, Repository};
use crate::openpgp::{self, Fingerprint, Key};

/// Larger than any key file; what is larger is something else.
const LARGEST: u64 = 4 << 20;

/// What stands for `~`, and what relative paths are relative to.
pub struct Places<'a> {
    pub folder: &'a Utf8Path,
    pub home: Option<&'a Utf8Path>,
}

/// Resolves and checks every file that the cluster names. Gives back what a person should know, though it is no mistake.
pub fn check(cluster: &mut Cluster, places: &Places, findings: &mut Findings) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    let packages = Path::of("packages");
    for (name, repository) in
        [("kubernetes", &mut cluster.packages.kubernetes), ("containerd", &mut cluster.packages.containerd)]
    {
        repository_key(repository, &packages.key(name), places, findings, &mut warnings);
    }
    if let Some(etcd) = &mut cluster.etcd {
        etcd_files(&mut etcd.external, &Path::of("etcd.external"), places, findings);
    }
    let ssh = Path::of("ssh");
    if let Some(file) = &mut cluster.ssh.identity_file {
        identity(file, ssh.key("identityFile"), places, findings);
    }
    known_hosts(&mut cluster.ssh.known_hosts, ssh.key("knownHosts"), places, findings);
    for (index, host) in cluster.hosts.iter_mut().enumerate() {
        if let Some(file) = &mut host.ssh.identity_file {
            let path = Path::of("hosts").index(index).key("ssh").key("identityFile");
            identity(file, path, places, findings);
        }
    }
    warnings
}

impl Places<'_> {
    fn resolve(&self, file: &str) -> Result<Utf8PathBuf, String> {
        if file.is_empty() {
            return Err("is empty, but takes a file's path".into());
        }
        let file = match (file.strip_prefix('~'), self.home) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            (Some(rest), None) if rest.is_empty() || rest.starts_with('/') => {
                return Err(format!("{} cannot be found: the environment has no HOME", quote_path(file)));
            }
            (Some(_), _) => return Err(format!("{}: kboot knows only your own home, as `~/…`", quote_path(file))),
            (None, _) => self.folder.join(file),
        };
        Ok(without_dots(&file))
    }
}

/// Leaves out `.`; `..` stays, because it may lead through a symbolic link.
fn without_dots(path: &Utf8Path) -> Utf8PathBuf {
    path.components().filter(|component| component.as_str() != ".").collect()
}

/// Makes a path absolute in its place; whether there is a path to look at.
fn resolve(file: &mut String, path: &Path, places: &Places, findings: &mut Findings) -> bool {
    match places.resolve(file) {
        Ok(resolved) => {
            *file = resolved.into_string();
            true
        }
        Err(message) => {
            findings.add(Mistake::new(path.clone(), message));
            false
        }
    }
}

fn repository_key(
    repository: &mut Repository,
    path: &Path,
    places: &Places,
    findings: &mut Findings,
    warnings: &mut Vec<Mistake>,
) {
    let Some(file) = &mut repository.key_file else { return };
    let place = path.key("keyFile");
    if !resolve(file, &place, places, findings) {
        return;
    }
    let keys = match read(file).and_then(|data| {
        openpgp::keys(&data).map_err(|error| format!("{} is not a public key: {error}", quote_path(file)))
    }) {
        Ok(keys) => keys,
        Err(message) => {
            findings.add(Mistake::new(place, message));
            return;
        }
    };
    let wanted = wanted_keys(repository, &keys, path, findings);
    let Some((key, at)) = openpgp::last_to_expire(&wanted) else { return };
    let (now, day) = (now(), openpgp::day(at));
    let message = match at.checked_sub(now) {
        None => format!("the key {} expired on {day}; apt will refuse what it signs", key.fingerprint),
        Some(left) if left <= openpgp::EXPIRY_NOTICE => {
            format!("the key {} expires on {day}, in {} days", key.fingerprint, left / 86400)
        }
        Some(_) => return,
    };
    warnings.push(Mistake::new(place, message).hint("fetch the key again: its owner may have extended it"));
}

/// The keys of the file that sign the repository, and with it the fingerprint that the inventory leaves out.
fn wanted_keys(repository: &mut Repository, keys: &[Key], path: &Path, findings: &mut Findings) -> Vec<Key> {
    // What cannot be compared has been told already.
    if !findings.is_whole(&path.key("fingerprint")) || !findings.is_intact(&path.key("url")) {
        return Vec::new();
    }
    let held = || keys.iter().map(|key| key.fingerprint.to_string()).collect::<Vec<_>>().join(", ");
    if repository.fingerprint.is_empty() {
        let [key] = keys else {
            let message = format!("holds {} keys; which one signs the repository?", keys.len());
            let hint = format!("set `fingerprint` to one of {}", held());
            findings.add(Mistake::new(path.key("keyFile"), message).hint(hint));
            return Vec::new();
        };
        repository.fingerprint = OneOrMany::one(key.fingerprint.to_string());
        return vec![*key];
    }
    let mut found = Vec::new();
    for text in repository.fingerprint.iter_mut() {
        let Ok(wanted) = text.parse::<Fingerprint>() else { return Vec::new() };
        found.extend(keys.iter().filter(|key| key.fingerprint == wanted));
        *text = wanted.to_string();
    }
    if found.is_empty() {
        let wanted: Vec<&str> = repository.fingerprint.iter().map(String::as_str).collect();
        let message = format!("holds the key {}, not {}", held(), wanted.join(" or "));
        let hint = "if that is the key you trust, it goes into `fingerprint`";
        findings.add(Mistake::new(path.key("keyFile"), message).hint(hint));
    }
    found
}

fn identity(file: &mut String, path: Path, places: &Places, findings: &mut Findings) {
    if !resolve(file, &path, places, findings) {
        return;
    }
    let data = match read(file) {
        Ok(data) => data,
        Err(message) => return findings.add(Mistake::new(path, message)),
    };
    let text = String::from_utf8_lossy(&data);
    let is_private = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----"));
    if !is_private {
        let hint = match text.as_ref() {
            text if text.starts_with("PuTTY-User-Key-File") => {
                Some(format!("`puttygen {file} -O private-openssh -o KEY` converts it"))
            }
            text if text.starts_with("ssh-") || text.starts_with("ecdsa-") => {
                let private = file.strip_suffix(".pub");
                Some(private.map_or("that is a public key".into(), |private| {
                    format!("that is the public half; try `{private}`")
                }))
            }
            _ => None,
        };
        let message = format!("{} is not a private key", quote_path(file));
        return findings.add(Mistake::new(path, message).maybe_hint(hint));
    }
    let mode = fs_err::metadata(&*file).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let message = format!("{} is open to others (mode {mode:04o})", quote_path(file));
        findings.add(Mistake::new(path, message).hint(format!("`chmod 600 {file}`")));
    }
}

/// Whether they belong together, and are valid, is for who uses them: that changes with the time.
fn etcd_files(etcd: &mut ExternalEtcd, path: &Path, places: &Places, findings: &mut Findings) {
    for (file, field) in [(&mut etcd.ca_file, "caFile"), (&mut etcd.cert_file, "certFile")] {
        let path = path.key(field);
        if !resolve(file, &path, places, findings) {
            continue;
        }
        match read(file) {
            Ok(data) if has_pem(&data, "CERTIFICATE") => {}
            Ok(_) => findings.add(
                Mistake::new(path, format!("{} holds no certificate", quote_path(file)))
                    .hint("PEM is wanted, which begins with -----BEGIN CERTIFICATE-----"),
            ),
            Err(message) => findings.add(Mistake::new(path, message)),
        }
    }
    identity(&mut etcd.key_file, path.key("keyFile"), places, findings);
}

fn has_pem(data: &[u8], label: &str) -> bool {
    String::from_utf8_lossy(data).lines().any(|line| line.trim() == format!("-----BEGIN {label}-----"))
}

/// The file itself need not be there yet: trusting the first host makes it. Its folder must be, unless it is the default.
fn known_hosts(file: &mut String, path: Path, places: &Places, findings: &mut Findings) {
    let is_default = *file == super::types::Ssh::default().known_hosts;
    if !resolve(file, &path, places, findings) {
        return;
    }
    let file = Utf8Path::new(file);
    if file.is_dir() {
        return findings.add(Mistake::new(path, format!("{} is a folder", quote_path(file.as_str()))));
    }
    let has_folder = file.parent().is_none_or(Utf8Path::is_dir);
    if !has_folder && !is_default {
        findings.add(Mistake::new(path, format!("the folder of {} does not exist", quote_path(file.as_str()))));
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let why = |error: std::io::Error| format!("{} cannot be read: {}", quote_path(file), reason(&error));
    // Asked first: opening a named pipe would wait for its writer.
    if !std::fs::metadata(file).map_err(why)?.is_file() {
        return Err(format!("{} is not a file", quote_path(file)));
    }
    let mut data = Vec::new();
    std::fs::File::open(file).map_err(why)?.take(LARGEST + 1).read_to_end(&mut data).map_err(why)?;
    if data.len() as u64 > LARGEST {
        return Err(format!("{} is too large to be a key", quote_path(file)));
    }
    Ok(data)
}

/// An error of the system in its own words, without the number.
pub fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        std::io::ErrorKind::NotADirectory => "a part of the path is not a folder".into(),
        _ => error.to_string(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
