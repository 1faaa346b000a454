//! What Debian's ca-certificates leaves behind when it is removed.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::engine::{Failure, Result};

pub(super) const PACKAGE: &str = "ca-certificates";

/// Where the package keeps a link to each CA certificate.
const LINKS: &str = "/etc/ssl/certs";
/// Where administrators put CA certificates of their own.
const OWN: &str = "/usr/local/share/ca-certificates";

/// Removes the package's links to the administrator's own CA certificates, before the package goes.
///
/// Its postrm removes only links that lead nowhere. These lead to files that stay, and hash links lead to these.
pub(super) fn remove_links() -> Result<()> {
    remove_links_to(Utf8Path::new(OWN), Utf8Path::new(LINKS))
}

fn remove_links_to(own: &Utf8Path, links: &Utf8Path) -> Result<()> {
    let entries = match fs::read_dir(links) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = Utf8PathBuf::try_from(entry?.path()).map_err(|error| Failure::new(error.to_string()))?;
        // What is no link, and what went meanwhile, is not the package's.
        let Ok(target) = path.read_link_utf8() else { continue };
        if target.starts_with(own) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_the_administrator_s_own_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let (own, links) = (folder.join("own"), folder.join("links"));
        fs::create_dir(&own).unwrap();
        // A host that never had the package.
        remove_links_to(&own, &links).unwrap();
        fs::create_dir(&links).unwrap();
        fs::write(own.join("lab.crt"), "").unwrap();
        fs::write(links.join("bundle.crt"), "").unwrap();
        for (name, target) in
            [("lab.pem", own.join("lab.crt")), ("a.pem", "/usr/share/a.crt".into()), ("0.0", "a.pem".into())]
        {
            symlink(target, links.join(name)).unwrap();
        }
        remove_links_to(&own, &links).unwrap();
        let mut left: Vec<String> =
            links.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_string()).collect();
        left.sort();
        assert_eq!(left, ["0.0", "a.pem", "bundle.crt"]);
        assert!(own.join("lab.crt").exists());
    }
}
