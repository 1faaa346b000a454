//! Control groups that nobody needs any more.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::{Failure, Result};

/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills what runs in the group and below it, and removes all of it.
pub(super) async fn remove(path: &Utf8Path) -> Result<()> {
    let started = Instant::now();
    loop {
        let groups = below(path)?;
        let processes: Vec<i32> = groups.iter().flat_map(|group| members(group)).collect();
        for process in &processes {
            if let Some(pid) = Pid::from_raw(*process) {
                // One that has ended meanwhile is what is wanted.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // The innermost come last.
        let all_gone = groups.iter().rev().all(|group| std::fs::remove_dir(group).is_ok() || !group.exists());
        if all_gone {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(Failure::new(format!("{path} is still in use"))
                .evidence(processes.iter().map(|process| format!("process {process} does not end"))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The group and all below it, outer ones first.
fn below(path: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = found.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&group)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(path) = Utf8PathBuf::try_from(entry.path())
            {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn members(group: &Utf8Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|process| *process > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tree_of_groups_goes_from_the_inside() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(folder.path().join("kubepods")).unwrap();
        std::fs::create_dir_all(path.join("burstable/pod1")).unwrap();
        std::fs::create_dir_all(path.join("besteffort")).unwrap();
        remove(&path).await.unwrap();
        assert!(!path.exists());
        remove(&path).await.unwrap();
    }
}
