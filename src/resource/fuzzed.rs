//! What targets of the fuzzer need of the private parts of `resource`: see [`crate::fuzz`].

use reqwest::Url;

use super::apt::{self, Package};
use super::registry::{Reference, granted};
use super::{DpkgStatus, apt_removal, image, nftables};

/// Parts of the kernel's answer about tables.
pub(crate) fn netlink(data: &[u8]) {
    let mut found = Vec::new();
    let _ = nftables::listed(data, &mut found);
    // A byte that is no UTF-8 becomes three.
    assert!(found.iter().map(|(_, name)| name.len()).sum::<usize>() <= 3 * data.len());
}

/// What dpkg has written, and apt-cache, apt-get and crictl print.
pub(crate) fn packages(printed: &str) {
    for package in [Package::any("kubelet"), Package::version("kubelet", "1.37.*")] {
        if let Some(version) = apt::candidate(printed, &package) {
            assert!(printed.contains(&version) && package.is_met_by(&version));
        }
    }
    assert!(apt_removal::foreign(printed).iter().all(|name| printed.contains(name)));
    let _ = DpkgStatus::parse(printed);
    let Ok(list) = image::parse(printed) else { return };
    for (tag, digest) in list.digests() {
        // A tag has no digest of its own.
        assert!(tag.contains('@') || list.has(&tag));
        let _ = list.has(&format!("{tag}@{digest}"));
    }
}

/// A registry's refusal: its address and its challenge are a line each, and what follows grants a token. Nobody is sent to a host that is
/// not the registry's own.
pub(crate) fn registry(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (asked, challenge, body) = (line(), line(), line());
    let _ = granted(body);
    let Ok(asked) = Url::parse(&String::from_utf8_lossy(asked)) else { return };
    let challenge = String::from_utf8_lossy(challenge);
    let Ok(url) = Reference::parse("r.example.org/a/b:1").token_url(&asked, &challenge) else { return };
    assert!(url.scheme() == asked.scheme() && ["http", "https"].contains(&url.scheme()), "{asked} leads to {url}");
    let (own, host) = (asked.host_str().unwrap_or_default(), url.host_str().unwrap_or_default());
    let last_two = |host: &str| host.rsplit('.').take(2).map(String::from).collect::<Vec<_>>();
    let is_related = url.scheme() == "https" && own.contains('.') && last_two(own) == last_two(host);
    assert!(own == host || is_related, "{asked} leads to {url}");
}
