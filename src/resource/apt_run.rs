//! What apt and dpkg are run with to carry changes of packages out.

use super::apt_fetch::{FETCH, fetching};
use super::apt_options::{FREE, OPTIONS, QUIET};
use super::{apt_lock, apt_removal, ca_certificates, command, dpkg, unit};
use crate::engine::hint::PackageWords;
use crate::engine::{Failure, Hint, PackageChange, PackageLock, Result};
use crate::fetch::Retry;

pub(super) async fn install(packages: &[PackageChange], lock: Option<&PackageLock>, retry: Retry<'_>) -> Result<()> {
    let named = |package: &PackageChange| match &package.to {
        Some(version) => format!("{}={version}", package.name),
        None => package.name.clone(),
    };
    let names: Vec<String> = packages.iter().map(named).collect();
    // Apt itself holds what it downloads against the signed index; what the index says is held against the lock.
    let preferences = match lock {
        Some(lock) => Some(apt_lock::check(lock, &names).await?),
        None => None,
    };
    let pinned = preferences.as_ref().map(|file| apt_lock::option(file.path()));
    let mut arguments = vec!["install"];
    arguments.extend(OPTIONS);
    arguments.extend(FETCH);
    arguments.extend(FREE);
    arguments.extend(pinned.iter().flat_map(|option| ["-o", option]));
    arguments.extend(names.iter().map(String::as_str));
    without_removal(&arguments, "install packages", retry).await.map_err(|failure| explain(failure, packages))
}

/// Runs apt-get so that it removes no package, but for a container runtime that another one replaces.
async fn without_removal(arguments: &[&str], what: &str, retry: Retry<'_>) -> Result<()> {
    let argv = |option| ["apt-get", option].into_iter().chain(arguments.iter().copied()).collect::<Vec<_>>();
    match fetching(&argv("--no-remove"), &QUIET, what, retry).await {
        Err(failure) if apt_removal::is_refused(&failure) => {}
        done => return done,
    }
    let simulation = command::run_with(&argv("--simulate"), &QUIET).await?;
    let others: Vec<String> = apt_removal::foreign(&simulation.stdout).into_iter().collect();
    if others.is_empty() {
        return fetching(&argv("-q"), &QUIET, what, retry).await;
    }
    Err(Failure::new(format!("apt would remove {}, which kboot did not install", others.join(", ")))
        .evidence(simulation.stdout.lines().filter(|line| line.starts_with("Inst ") || line.starts_with("Remv ")))
        .hint(Hint::RemoveDependents { packages: PackageWords::of(others) }))
}

fn explain(failure: Failure, packages: &[PackageChange]) -> Failure {
    let says = |text: &str| failure.evidence.iter().any(|line| line.contains(text));
    let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    if says("No space left on device") || says("You don't have enough free space") {
        return failure.hint(Hint::DiskFull);
    }
    if says("Unable to locate package") || says("was not found") || says("has no installation candidate") {
        return failure.hint(Hint::ShowPolicy { packages: PackageWords::of(names) });
    }
    failure
}

pub(super) async fn remove(packages: &[String]) -> Result<()> {
    // Somebody may have installed a package that needs one of them since it was planned.
    apt_removal::refuse_others(packages).await?;
    if packages.iter().any(|name| name == ca_certificates::PACKAGE) {
        ca_certificates::remove_links()?;
    }
    let mut argv = vec!["apt-get", "purge"];
    argv.extend(OPTIONS);
    argv.push("--allow-change-held-packages");
    argv.extend(packages.iter().map(String::as_str));
    let units = dpkg::units(packages);
    command::run_with(&argv, &QUIET).await?;
    for unit in units.iter().filter(|unit| !unit.exists()) {
        unit::forget_failure(unit.file_name().unwrap_or_default()).await;
    }
    Ok(())
}

pub(super) async fn hold(packages: &[String], hold: bool) -> Result<()> {
    let mut argv = vec!["apt-mark", if hold { "hold" } else { "unhold" }];
    argv.extend(packages.iter().map(String::as_str));
    command::run(&argv).await
}

pub(super) async fn mend(retry: Retry<'_>) -> Result<()> {
    let argv = ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"];
    command::run_with(&argv, &QUIET).await?;
    let mut arguments = vec!["install", "-f"];
    arguments.extend(OPTIONS);
    arguments.extend(FETCH);
    without_removal(&arguments, "finish an interrupted dpkg run", retry).await
}
