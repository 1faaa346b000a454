//! One lock of all hosts' answers, and of the lock that there was.

use std::collections::BTreeMap;

use super::digest::{Digest, digest};
use super::{ImageDigests, Lock, LockedHost, Package, Packages, Resolved};
use crate::agree::Said;
use crate::engine::Failure;
use crate::inventory::{Cluster, Host};

/// A host's answer, and the SSH key that it showed.
#[derive(Debug, Clone)]
pub struct Answer {
    pub resolved: Resolved,
    pub host_key: String,
}

/// Answers by host. Every host of the inventory must have given one.
pub type Answers = BTreeMap<String, Answer>;

/// A lock, and what people should know of hosts whose word did not count.
#[derive(Debug, PartialEq, Eq)]
pub struct Composed {
    pub lock: Lock,
    pub notes: Vec<String>,
}

/// Puts a lock together. What `old` has stays; None takes every answer as it is. What kboot renders is always what it renders now.
/// All that can't be put together is told at once.
pub fn compose(cluster: &Cluster, old: Option<&Lock>, answers: &Answers) -> Result<Composed, Vec<Failure>> {
    let (mut conflicts, mut notes) = (Vec::new(), Vec::new());
    let lock = Lock {
        packages: packages(old, answers, &mut conflicts),
        images: images(cluster, old, answers, &mut conflicts, &mut notes),
        objects: objects(cluster, answers, &mut conflicts),
        hosts: answers.iter().map(|(name, answer)| (name.clone(), host(name, old, answer, &mut conflicts))).collect(),
        ..Lock::empty(cluster)
    };
    if conflicts.is_empty() { Ok(Composed { lock, notes }) } else { Err(conflicts) }
}

fn is_control_plane(cluster: &Cluster, host: &str) -> bool {
    cluster.host(host).is_some_and(Host::is_control_plane)
}

/// What the control planes render, which is the same on all of them.
fn objects(cluster: &Cluster, answers: &Answers, conflicts: &mut Vec<Failure>) -> BTreeMap<String, String> {
    let mut rendered = answers.iter().filter(|(name, _)| is_control_plane(cluster, name));
    let Some((first, answer)) = rendered.next() else { return BTreeMap::new() };
    let objects = &answer.resolved.objects;
    for (other, _) in rendered.filter(|(_, answer)| answer.resolved.objects != *objects) {
        conflicts.push(
            Failure::new(format!("{first} and {other} do not render the same objects of the cluster"))
                .hint_text("both were sent the same inventory: see whether one of them is what it should be"),
        );
    }
    objects.clone()
}

fn packages(old: Option<&Lock>, answers: &Answers, conflicts: &mut Vec<Failure>) -> BTreeMap<String, Packages> {
    let mut platforms: BTreeMap<String, Packages> = BTreeMap::new();
    // Whose answer an entry is, and who says of the old lock's that it holds.
    let mut givers: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut holders: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (host, Answer { resolved, .. }) in answers {
        let locked = old.and_then(|old| old.packages.get(&resolved.platform)).cloned().unwrap_or_default();
        let known = platforms.entry(resolved.platform.clone()).or_insert(locked);
        for (name, package) in resolved.packages() {
            let entry = (resolved.platform.as_str(), name.as_str());
            let is_unfit = resolved.unfit.contains(name);
            let giver = givers.get(&entry).or(holders.get(&entry).filter(|_| is_unfit)).copied();
            match (known.get(name), giver) {
                (Some(same), _) if same == package => {
                    holders.entry(entry).or_insert(host);
                }
                (Some(other), Some(giver)) => conflicts.push(hosts_differ(name, (giver, other), (host, package))),
                (Some(locked), None) if !is_unfit => {
                    conflicts.extend(moved(host, name, locked, package, resolved.installs.contains_key(name)));
                }
                _ => {
                    known.insert(name.clone(), package.clone());
                    givers.insert(entry, host);
                }
            }
        }
    }
    platforms
}

/// What is locked stays, unless a host would have to install something else.
fn moved(host: &str, name: &str, locked: &Package, found: &Package, is_needed: bool) -> Option<Failure> {
    const HINT: &str = "`kboot lock --update` takes what the repository has now, and shows what moves";
    if locked.version == found.version {
        return Some(
            Failure::new(format!("{name} {} is another package than the locked one", locked.version))
                .evidence([format!("locked:     sha256:{}", locked.sha256), format!("from {host}: sha256:{}", found.sha256)])
                .hint_text("a repository that replaces a version is rare, and one that was broken into may do it: ask its owner. ".to_string() + HINT),
        );
    }
    is_needed.then(|| {
        Failure::new(format!("{host} needs {name} {}, which none of its repositories has any more", locked.version))
            .evidence([format!("there is {}", found.version)])
            .hint_text(HINT)
    })
}

fn hosts_differ(name: &str, one: (&str, &Package), other: (&str, &Package)) -> Failure {
    let line = |(host, package): (&str, &Package)| format!("{host}: {} sha256:{}", package.version, package.sha256);
    Failure::new(format!("{name} is not the same package for all hosts of a platform"))
        .evidence([line(one), line(other)])
        .hint_text("let these hosts have the same repositories, and see that mirrors are up to date")
}

fn images(
    cluster: &Cluster,
    old: Option<&Lock>,
    answers: &Answers,
    conflicts: &mut Vec<Failure>,
    notes: &mut Vec<String>,
) -> BTreeMap<String, String> {
    let mut asked: BTreeMap<&str, Vec<(&str, &ImageDigests)>> = BTreeMap::new();
    for (host, answer) in answers {
        for (image, digests) in &answer.resolved.images {
            asked.entry(image).or_default().push((host, digests));
        }
    }
    let mut images = BTreeMap::new();
    for (image, found) in asked {
        if let Some(locked) = old.and_then(|old| old.images.get(image)) {
            images.insert(image.to_string(), locked.clone());
            continue;
        }
        let said = |digest: fn(&ImageDigests) -> Option<&String>| -> Vec<Said<&String>> {
            let words = found.iter().filter_map(|(host, digests)| {
                let (host, is_control_plane) = ((*host).to_string(), is_control_plane(cluster, host));
                Some(Said { host, is_control_plane, word: digest(digests)? })
            });
            words.collect()
        };
        let (by_registry, by_host) = (said(|it| it.registry.as_ref()), said(|it| it.host.as_ref()));
        match digest(&by_registry, &by_host) {
            Digest::One { digest, others } => {
                let has_other = |other: &Said<&String>| {
                    format!("{} has {} as {image}, and {digest} is locked", other.host, other.word)
                };
                // Whoever asks for what is newest knows that hosts have something older.
                notes.extend(old.iter().flat_map(|_| &others).map(has_other));
                images.insert(image.to_string(), digest.clone());
            }
            Digest::Split { by_registry, by_host } => conflicts.push(images_differ(image, &by_registry, &by_host)),
            Digest::Unknown => {
                conflicts.push(Failure::new(format!("no host and no registry could tell the digest of {image}")));
            }
        }
    }
    images
}

fn images_differ(image: &str, by_registry: &[Said<&String>], by_host: &[Said<&String>]) -> Failure {
    let heard = by_registry.iter().map(|said| format!("the registry, as {} heard: {}", said.host, said.word));
    let has = by_host.iter().map(|said| format!("{}: {}", said.host, said.word));
    Failure::new(format!("{image} is not the same image for all hosts"))
        .evidence(heard.chain(has))
        .hint_text("`crictl rmi` it where it is the wrong one, and see that mirrors are up to date; `kboot lock --update` has every host ask the registry")
}

fn host(name: &str, old: Option<&Lock>, answer: &Answer, conflicts: &mut Vec<Failure>) -> LockedHost {
    if let Some(locked) = old.and_then(|old| old.hosts.get(name))
        && locked.host_key != answer.host_key
    {
        conflicts.push(
            Failure::new(format!("{name} shows another SSH key than the locked one"))
                .evidence([format!("locked: {}", locked.host_key), format!("shown:  {}", answer.host_key)])
                .hint_text("if the host was reinstalled, `kboot lock --update` takes its new key"),
        );
    }
    LockedHost {
        platform: answer.resolved.platform.clone(),
        host_key: answer.host_key.clone(),
        files: answer.resolved.files.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::samples::{self, PLATFORM};

    fn cluster() -> Cluster {
        let text = "{apiVersion: kboot/v1alpha1, kind: Cluster, name: lab, kubernetes: {version: v1.37.2}, hosts: [{name: n1, address: 10.0.0.1, roles: [control-plane]}]}";
        crate::inventory::parse(text, "x".into()).unwrap()
    }

    fn answer() -> Answer {
        Answer { resolved: samples::resolved(), host_key: samples::host().host_key }
    }

    fn answers(list: impl IntoIterator<Item = Answer>) -> Answers {
        list.into_iter().enumerate().map(|(i, answer)| (format!("n{}", i + 1), answer)).collect()
    }

    fn causes<T: std::fmt::Debug>(result: Result<T, Vec<Failure>>) -> Vec<String> {
        result.unwrap_err().into_iter().map(|failure| failure.cause.to_string()).collect()
    }

    fn newer(name: &str) -> Answer {
        let mut answer = answer();
        let package = samples::package("9.9", 'f');
        answer.resolved.candidates.insert(name.into(), package.clone());
        answer.resolved.installs.insert(name.into(), package);
        answer
    }

    #[test]
    fn a_first_lock_takes_the_answers() {
        let composed = compose(&cluster(), None, &answers([answer()])).unwrap();
        assert_eq!(composed, Composed { lock: samples::lock(), notes: Vec::new() });
    }

    #[test]
    fn what_is_locked_stays_where_it_is_not_needed_anew() {
        let mut answer = newer("socat");
        answer.resolved.installs.clear();
        let lock = compose(&cluster(), Some(&samples::lock()), &answers([answer.clone()])).unwrap().lock;
        assert_eq!(lock, samples::lock());
        let lock = compose(&cluster(), None, &answers([answer])).unwrap().lock;
        assert_eq!(lock.packages[PLATFORM]["socat"].version, "9.9");
    }

    #[test]
    fn a_locked_version_that_is_gone_and_needed_is_told() {
        let told = causes(compose(&cluster(), Some(&samples::lock()), &answers([newer("socat")])));
        assert_eq!(told, ["n1 needs socat 1.7.4.4-2, which none of its repositories has any more"]);
    }

    #[test]
    fn another_inventory_moves_what_no_longer_fits() {
        let mut answer = newer("kubelet");
        answer.resolved.unfit.insert("kubelet".into());
        let lock = compose(&cluster(), Some(&samples::lock()), &answers([answer])).unwrap().lock;
        assert_eq!(lock.packages[PLATFORM]["kubelet"].version, "9.9");
        assert_eq!(lock.packages[PLATFORM]["socat"].version, "1.7.4.4-2");
    }

    #[test]
    fn a_version_with_another_digest_is_never_taken_silently() {
        let mut answer = answer();
        answer.resolved.installs.clear();
        answer.resolved.candidates.insert("socat".into(), samples::package("1.7.4.4-2", 'f'));
        let told = causes(compose(&cluster(), Some(&samples::lock()), &answers([answer])));
        assert_eq!(told, ["socat 1.7.4.4-2 is another package than the locked one"]);
    }

    #[test]
    fn hosts_of_a_platform_must_agree() {
        let told = causes(compose(&cluster(), None, &answers([answer(), newer("socat")])));
        assert_eq!(told, ["socat is not the same package for all hosts of a platform"]);
        let mut elsewhere = newer("socat");
        elsewhere.resolved.platform = "ubuntu-noble-amd64".into();
        let lock = compose(&cluster(), None, &answers([answer(), elsewhere])).unwrap().lock;
        assert_eq!(lock.packages.len(), 2);
    }

    #[test]
    fn a_locked_package_gives_way_to_no_single_host() {
        let honest = || {
            let mut answer = answer();
            answer.resolved.installs.clear();
            answer
        };
        let mut liar = newer("kubelet");
        liar.resolved.unfit.insert("kubelet".into());
        for list in [[honest(), liar.clone()], [liar, honest()]] {
            let told = causes(compose(&cluster(), Some(&samples::lock()), &answers(list)));
            assert_eq!(told, ["kubelet is not the same package for all hosts of a platform"]);
        }
    }

    #[test]
    fn only_a_control_plane_s_objects_count() {
        let mut liar = answer();
        liar.resolved.objects.insert("ConfigMap kube-system/coredns".into(), samples::digest('9'));
        let composed = compose(&cluster(), None, &answers([answer(), liar.clone()])).unwrap();
        assert_eq!(composed.lock.objects, samples::lock().objects);
        let named = [("a".to_string(), liar.clone()), ("n1".to_string(), answer())];
        assert_eq!(compose(&cluster(), None, &named.into()).unwrap().lock.objects, samples::lock().objects);
    }

    #[test]
    fn an_image_is_what_hosts_have_or_what_the_registry_says() {
        let of = |host: Option<char>, registry: Option<char>| {
            let mut answer = answer();
            let digests = ImageDigests { host: host.map(samples::digest), registry: registry.map(samples::digest) };
            answer.resolved.images.values_mut().for_each(|found| *found = digests.clone());
            answer
        };
        let image = |old: Option<&Lock>, list: Vec<Answer>| {
            compose(&cluster(), old, &answers(list))
                .map(|composed| composed.lock.images["registry.k8s.io/pause:3.10.2"].clone())
        };
        let bare = Lock { images: BTreeMap::new(), ..samples::lock() };
        // Added to a lock: what runs already counts where the registry says nothing else.
        assert_eq!(image(Some(&bare), vec![of(Some('5'), None), of(None, Some('5'))]).unwrap(), samples::digest('5'));
        assert_eq!(image(Some(&bare), vec![of(None, Some('6')), of(Some('5'), None)]).unwrap(), samples::digest('6'));
        // Moved on: what the registry has now.
        assert_eq!(image(None, vec![of(Some('5'), Some('6'))]).unwrap(), samples::digest('6'));
        // Locked: stays.
        assert_eq!(image(Some(&samples::lock()), vec![of(None, Some('6'))]).unwrap(), samples::digest('1'));
        // n2 is a worker, and n1 has another image than it heard of.
        let told = causes(compose(&cluster(), Some(&bare), &answers([of(Some('5'), None), of(None, Some('6'))])));
        assert_eq!(told, ["registry.k8s.io/pause:3.10.2 is not the same image for all hosts"]);
        let composed = compose(&cluster(), Some(&bare), &answers([of(Some('5'), None), of(Some('6'), None)])).unwrap();
        let (five, six) = (samples::digest('5'), samples::digest('6'));
        assert_eq!(composed.notes, [format!("n2 has {six} as registry.k8s.io/pause:3.10.2, and {five} is locked")]);
    }

    #[test]
    fn another_host_key_is_told() {
        let answer = Answer { host_key: "ssh-ed25519 other".into(), ..answer() };
        let told = causes(compose(&cluster(), Some(&samples::lock()), &answers([answer.clone()])));
        assert_eq!(told, ["n1 shows another SSH key than the locked one"]);
        assert_eq!(
            compose(&cluster(), None, &answers([answer])).unwrap().lock.hosts["n1"].host_key,
            "ssh-ed25519 other"
        );
    }
}
