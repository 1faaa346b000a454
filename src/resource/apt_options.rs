//! How apt is run.

/// The environment in which apt and dpkg ask nothing.
pub(super) const QUIET: [(&str, &str); 2] = [("DEBIAN_FRONTEND", "noninteractive"), ("NEEDRESTART_MODE", "a")];

/// How apt-get is run: no questions, an administrator's changed configuration files kept, a held lock waited for.
pub(super) const OPTIONS: [&str; 11] = [
    "-y",
    "-q",
    "--no-install-recommends",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "DPkg::Lock::Timeout=120",
    "-oDpkg::Use-Pty=0",
    "-oAPT::Keep-Downloaded-Packages=false",
];

/// The versions that are asked for are meant, also where a package is held or newer.
pub(super) const FREE: [&str; 2] = ["--allow-change-held-packages", "--allow-downgrades"];
