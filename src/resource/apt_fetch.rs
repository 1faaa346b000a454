//! apt-get where it fetches something: repeated where that may help, its output read into faults.

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::FutureExt as _;

use super::apt_options::QUIET;
use super::command;
use crate::engine::{Output, Result};
use crate::fetch::{self, Fault, Retry, Sort};

/// How apt-get fetches: a few attempts of its own for each file, and no silence for minutes.
pub(super) const FETCH: [&str; 3] =
    ["-oAcquire::Retries=2", "-oAcquire::http::Timeout=30", "-oAcquire::https::Timeout=30"];

/// Reads the lists of one source file, which must work, or of all, where a foreign one may be broken.
pub(super) async fn refresh(source: Option<&Utf8PathBuf>, retry: Retry<'_>) -> Result<()> {
    // A node that somebody else made has the repository in a file of its own.
    match source.filter(|source| source.exists()) {
        Some(source) => refresh_one(source, &QUIET, retry).await,
        None => refresh_all(&QUIET, retry).await,
    }
}

const UPDATE: [&str; 5] = ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"];

/// A repository that is not kboot's and does not answer is no reason to stop: what is missing shows when it is installed.
pub(super) async fn refresh_all(environment: &[(&str, &str)], retry: Retry<'_>) -> Result<()> {
    let argv: Vec<&str> = UPDATE.into_iter().chain(FETCH).collect();
    let argv = &argv[..];
    let attempt = move || {
        async move {
            let output = command::output(argv, environment, None).await?;
            // One that stays broken must not keep the others from another attempt.
            let passing = faults(&output).into_iter().find(|fault| !fault.is_final() && !output.is_success());
            Ok(passing.map_or(Ok(output), Err))
        }
        .boxed()
    };
    let unread = match retry.attempts("read the package lists", attempt).await? {
        Ok(output) if output.is_success() => return Ok(()),
        Ok(output) => command::last_lines(&output),
        Err(fault) => fault.evidence,
    };
    tracing::warn!("some package lists could not be read: {}", unread.join("\n"));
    Ok(())
}

pub(super) async fn refresh_one(source: &Utf8Path, environment: &[(&str, &str)], retry: Retry<'_>) -> Result<()> {
    let list = format!("Dir::Etc::SourceList={source}");
    let alone = ["-o", &list, "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=0"];
    let argv: Vec<&str> = UPDATE.into_iter().chain(alone).chain(FETCH).collect();
    fetching(&argv, environment, &format!("read the package lists of {source}"), retry).await
}

/// Runs apt-get, and runs it again where it could not fetch something that it may fetch later. Until then it has changed
/// nothing, and it goes on with the downloads that are there.
pub(super) async fn fetching(argv: &[&str], environment: &[(&str, &str)], what: &str, retry: Retry<'_>) -> Result<()> {
    let attempt = move || {
        async move {
            let output = command::output(argv, environment, None).await?;
            if output.is_success() {
                return Ok(Ok(()));
            }
            // Another attempt at what is final would not help the rest.
            match faults(&output).into_iter().next() {
                Some(fault) => Ok(Err(fetch::by_the_clock(fault).await)),
                None => Err(command::failed(argv, &output)),
            }
        }
        .boxed()
    };
    retry.run(what, Sort::Packages, attempt).await
}

/// What apt-get could not fetch, each with what it printed.
fn faults(output: &Output) -> Vec<Fault> {
    let faults = fetch::of_apt(&format!("{}\n{}", output.stdout, output.stderr));
    faults.into_iter().map(|fault| fault.evidence(command::last_lines(output))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an apt-get that prints this and fails, until it has run so often; and how often it ran.
    async fn fetched(says: &str, until: u32) -> (Result<()>, u32) {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!(
            "n=$(cat {0} 2>/dev/null || echo 0); n=$((n + 1)); echo $n >{0}; [ $n -ge {until} ] || {{ echo '{says}' >&2; exit 100; }}",
            count.display()
        );
        let progress = crate::engine::Progress::silent();
        let retry = Retry { policy: fetch::Policy::quick(), progress: &progress };
        let done = fetching(&["sh", "-c", &script], &[], "install packages", retry).await;
        (done, std::fs::read_to_string(count).unwrap().trim().parse().unwrap())
    }

    #[tokio::test]
    async fn what_apt_could_not_fetch_is_fetched_again_unless_that_is_final() {
        let busy = "E: Failed to fetch https://k.io/x.deb  503  Service Unavailable [IP: 10.0.0.1 443]";
        assert_eq!(fetched(busy, 3).await, (Ok(()), 3));
        let (failed, runs) = fetched(busy, 1000).await;
        let failure = failed.unwrap_err();
        assert!(runs > 3, "{runs}");
        assert_eq!(failure.cause, "k.io answers 503 Service Unavailable");
        assert_eq!(failure.evidence, [format!("tried {runs} times"), busy.into()]);
        let wrong = "W: GPG error: https://k.io/deb  InRelease: The following signatures were invalid: BADSIG 234654DA9A296436 x";
        for says in [wrong, "E: Failed to fetch https://k.io/x.deb  404  Not Found", "E: Unable to locate package x"] {
            let (failed, runs) = fetched(says, 1000).await;
            assert!(runs == 1 && failed.is_err(), "{says}");
        }
    }
}
