//! A host of a few files for tests. Strict: a query or a change that was not foreseen fails the test, and so does one that
//! was foreseen and never came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::future::BoxFuture;

use super::{Change, Failure, FileKind, Guard, Host, Metadata, Output, Probe, Progress, Result, State, Subject};

type Act = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

#[derive(Default)]
pub(crate) struct FakeHost {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    links: BTreeMap<String, String>,
    unreadable: BTreeMap<String, &'static str>,
    queries: BTreeMap<String, Output>,
    /// By the change's text, what becomes of it, each time that it is made.
    foreseen: Mutex<BTreeMap<String, VecDeque<Act>>>,
    applied: Mutex<Vec<String>>,
    in_hand: AtomicUsize,
    most_in_hand: AtomicUsize,
}

impl FakeHost {
    pub fn file(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.lock().unwrap().insert(path.into(), content.into());
        self
    }

    /// A symbolic link. Files behind it are named by where they are.
    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.into(), target.into());
        self
    }

    /// A file that is there, but can't be read.
    pub fn unreadable(mut self, path: &str, error: &'static str) -> Self {
        self.unreadable.insert(path.into(), error);
        self
    }

    /// What a query prints.
    pub fn answer(mut self, command: &str, code: i32, stdout: &str) -> Self {
        let output = Output { code: Some(code), stdout: stdout.into(), stderr: String::new() };
        self.queries.insert(command.into(), output);
        self
    }

    /// A change, by its text, that must be made once: files are written and removed, all else succeeds without a trace.
    pub fn change(self, text: &str) -> Self {
        self.change_by(text, || async { Ok(()) })
    }

    /// The same, with something of the test's own in its course. Where that fails, nothing is written.
    pub fn change_by<F>(self, text: &str, act: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let act: Act = Box::new(move || Box::pin(act()));
        self.foreseen.lock().unwrap().entry(text.into()).or_default().push_back(act);
        self
    }

    /// What was changed, in its order, the failed ones too.
    pub fn applied(&self) -> Vec<String> {
        self.applied.lock().unwrap().clone()
    }

    /// How many changes were in course at the same time.
    pub fn most_in_hand(&self) -> usize {
        self.most_in_hand.load(Ordering::SeqCst)
    }

    fn carry_out(&self, change: &Change) {
        let mut files = self.files.lock().unwrap();
        match change {
            Change::WriteFile { path, after, .. } => {
                files.insert(path.to_string(), after.bytes().expect("content, not its digest"));
            }
            Change::Remove { path } => files.retain(|file, _| !Utf8PathBuf::from(file).starts_with(path)),
            _ => {}
        }
    }
}

#[async_trait]
impl Probe for FakeHost {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        match self.unreadable.get(path.as_str()) {
            Some(error) => Err(Failure::new(*error)),
            None => Ok(self.files.lock().unwrap().get(path.as_str()).cloned()),
        }
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let is_file = self.files.lock().unwrap().contains_key(path.as_str());
        let kind = if self.links.contains_key(path.as_str()) {
            FileKind::Symlink
        } else if is_file || self.unreadable.contains_key(path.as_str()) {
            FileKind::File
        } else if self.list(path).await?.is_some() {
            FileKind::Directory
        } else {
            return Ok(None);
        };
        Ok(Some(Metadata { kind, mode: 0o644, uid: 0, gid: 0, size: 0, inode: 0 }))
    }

    async fn link(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        Ok(self.links.get(path.as_str()).map(Utf8PathBuf::from))
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        if let Some(error) = self.unreadable.get(path.as_str()) {
            return Err(Failure::new(*error));
        }
        let files = self.files.lock().unwrap();
        let below = files.keys().filter_map(|file| file.strip_prefix(path.as_str())?.strip_prefix('/'));
        let mut names: Vec<String> = below.filter_map(|rest| rest.split('/').next()).map(String::from).collect();
        names.dedup();
        Ok(if names.is_empty() { None } else { Some(names) })
    }

    async fn query(&self, argv: &[&str]) -> Result<Output> {
        let command = argv.join(" ");
        match self.queries.get(&command) {
            Some(output) => Ok(output.clone()),
            None => panic!("unexpected query: {command}"),
        }
    }

    async fn ask(&self, guard: &Guard) -> Result<Output> {
        self.query(&guard.argv()).await
    }
}

#[async_trait]
impl Host for FakeHost {
    async fn apply(&self, change: &Change, _: &Progress) -> Result<()> {
        let text = change.to_string();
        let act = self.foreseen.lock().unwrap().get_mut(&text).and_then(VecDeque::pop_front);
        let Some(act) = act else { panic!("unexpected change: {text}") };
        self.applied.lock().unwrap().push(text);
        let in_hand = self.in_hand.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_hand.fetch_max(in_hand, Ordering::SeqCst);
        let result = act().await;
        self.in_hand.fetch_sub(1, Ordering::SeqCst);
        result?;
        self.carry_out(change);
        Ok(())
    }

    /// Files are known; of all else a fake knows nothing.
    async fn state(&self, subject: &Subject) -> State {
        let Subject::Path { path } = subject else { return State::Unknown { reason: "a fake".into() } };
        match self.read(path).await {
            Ok(Some(bytes)) => State::file(0o644, 0, 0, bytes),
            Ok(None) => State::Absent,
            Err(failure) => State::Unknown { reason: failure.cause },
        }
    }

    fn probe(&self) -> &dyn Probe {
        self
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        let foreseen = self.foreseen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let missing: Vec<&String> =
            foreseen.iter().filter(|(_, acts)| !acts.is_empty()).map(|(text, _)| text).collect();
        // A second panic would hide the first.
        assert!(missing.is_empty() || std::thread::panicking(), "never made: {missing:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(module: &str) -> Change {
        Change::LoadModule { module: module.into() }
    }

    #[tokio::test]
    #[should_panic(expected = "unexpected change: load the kernel module overlay")]
    async fn an_unforeseen_change_fails_the_test() {
        let _ = FakeHost::default().apply(&load("overlay"), &Progress::silent()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "unexpected change")]
    async fn a_change_is_foreseen_once() {
        let host = FakeHost::default().change("load the kernel module overlay");
        for _ in 0..2 {
            let _ = host.apply(&load("overlay"), &Progress::silent()).await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "unexpected query: rm -rf /")]
    async fn an_unforeseen_query_fails_the_test() {
        let _ = FakeHost::default().answer("uname -m", 0, "x86_64").query(&["rm", "-rf", "/"]).await;
    }

    #[test]
    #[should_panic(expected = "never made: [\"load the kernel module overlay\"]")]
    fn a_change_that_never_came_fails_the_test() {
        drop(FakeHost::default().change("load the kernel module overlay"));
    }
}
