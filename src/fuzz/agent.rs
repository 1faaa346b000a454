//! The conversation between controller and agent, both ways.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::assert_harmless;
use crate::adopt::{Named, Reached, adopt};
use crate::agent::{Client, HostFile, PhaseRun, Request, ResolveRun, request};
use crate::engine::{Event, Failure, Hint, Item, Journal, Kind, Mode, Outcome, Sink};
use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::lock::{self, Answer, Composed, Question, Resolved};
use crate::playbook::run_roles;
use crate::preflight;
use crate::report::{self, Json, Plain, Reporter, SummaryBuilder, Verbosity, render_failure};

/// A phase for host n1, as a controller sends it.
const RUN: &str = include_str!("../../fuzz/corpus/agent-requests/run-a-phase.json");

fn sample() -> PhaseRun {
    match request(RUN.trim_end()) {
        Ok(Request::Run(run)) => *run,
        _ => panic!("the sample is a run"),
    }
}

/// What a controller asks: `request` must read what it writes, and take nothing else for it.
pub fn requests(data: &[u8]) {
    for line in String::from_utf8_lossy(data).lines() {
        let Ok(read) = request(line) else { continue };
        let written = serde_json::to_string(&read).expect("requests are plain data");
        let again = request(&written).unwrap_or_else(|failure| panic!("{failure}: {written}"));
        assert_eq!(serde_json::to_string(&again).expect("requests are plain data"), written);
        if let Request::Run(run) = read {
            for leaf in run.steps.iter().flat_map(Item::leaves) {
                if let Item::Task(task) = leaf {
                    assert!(!task.id().is_empty());
                    let _ = task.title();
                }
            }
        }
    }
}

/// What a host answers. The first line names what it is asked; the rest is what it says to all of it.
pub fn replies(data: &[u8]) {
    let (asked, said) = data.split_at(data.iter().position(|byte| *byte == b'\n').map_or(data.len(), |at| at + 1));
    let asked = String::from_utf8_lossy(asked).into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime of one thread").block_on(converse(&asked, said));
}

async fn converse(asked: &str, said: &[u8]) {
    let sample = sample();
    let (cluster, host) = (sample.context.cluster.clone(), sample.context.host.clone());
    let client = Client::new(Cursor::new(said.to_vec()), tokio::io::sink());
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut facts = None;
    for word in asked.split_whitespace().take(8) {
        let failure = match word {
            "facts" => client.facts().await.map(|found| facts = Some(found)).err(),
            "survey" => match client.survey().await {
                Ok(survey) => {
                    judge_cluster(&host, facts.clone().unwrap_or(self::sample().context.facts), survey);
                    None
                }
                Err(failure) => Some(failure),
            },
            "etcd" => client.etcd(self::sample().context).await.err(),
            "resolve" => {
                let run = ResolveRun { question: Question::default(), context: self::sample().context };
                let answer = client.resolve(run, &Sink::new(&host, sender.clone())).await;
                answer.map(|resolved| judge_lock(&cluster, &host, resolved)).err()
            }
            "journal" => {
                client.read(HostFile::Journal).await.and_then(|file| Journal::runs(&file.unwrap_or_default())).err()
            }
            "plan" | "apply" => {
                let mode = if word == "plan" { Mode::Plan } else { Mode::Apply };
                client.run(PhaseRun { mode, ..self::sample() }, &sender).await.err()
            }
            "end" => client.end(Outcome::Changed).await.err(),
            _ => None,
        };
        failure.iter().for_each(judge_failure);
    }
    if let Some(facts) = facts {
        judge_facts(&cluster, &host, facts);
    }
    drop(sender);
    let mut heard = Vec::new();
    while let Some(event) = events.recv().await {
        heard.push(event);
    }
    judge_events(&sample, &heard);
}

/// A host's failure is one line as it stands, and its advice is kboot's.
fn judge_failure(failure: &Failure) {
    assert!(!failure.cause.contains(['\n', '\r']), "{failure:?}");
    assert!(failure.evidence.iter().all(|line| !line.contains('\n')), "{failure:?}");
    judge_hint(failure.hint.as_ref());
    assert_harmless(&render_failure(&["n1"], failure, Verbosity::Verbose, false));
}

/// A hint survives another way over the wire, as no words of a host's would.
fn judge_hint(hint: Option<&Hint>) {
    let sent = Failure { hint: hint.cloned(), ..Failure::new("x") };
    let read = serde_json::to_value(&sent).and_then(serde_json::from_value::<Failure>);
    assert_eq!(read.expect("failures are plain data").hint.as_ref(), hint);
    assert!(hint.is_none_or(|hint| !hint.to_string().contains(['\n', '\r'])), "{hint:?}");
}

/// A host speaks of itself, of the phase in hand and of its steps. What is shown of it does nothing to a terminal.
fn judge_events(run: &PhaseRun, events: &[Event]) {
    let is_known = |step: &str| {
        run.steps.iter().flat_map(Item::leaves).any(|leaf| matches!(leaf, Item::Step(name) if name == step))
    };
    let mut summary = SummaryBuilder::new(run.mode, [run.context.host.clone()]);
    let shown = Shown::default();
    let mut reporters: [Box<dyn Reporter>; 2] = [
        Box::new(Plain::new(Box::new(shown.clone()), Verbosity::Verbose, false)),
        Box::new(Json::new(Box::new(shown.clone()))),
    ];
    for event in events {
        assert_eq!(event.host, run.context.host);
        let is_of_phase =
            event.phase == run.phase || event.phase.is_empty() && matches!(event.kind, Kind::Retrying { .. });
        assert!(is_of_phase && (event.step.is_empty() || is_known(&event.step)), "{event:?}");
        if let Kind::Failed { failure: Failure { hint, .. } } | Kind::Warning { hint, .. } = &event.kind {
            judge_hint(hint.as_ref());
        }
        summary.event(event);
        reporters.iter_mut().for_each(|reporter| reporter.event(event));
    }
    let summary = summary.finish(1);
    reporters.iter_mut().for_each(|reporter| reporter.finish(&summary));
    assert_harmless(&String::from_utf8(shown.0.lock().expect("nobody panicked").clone()).expect("reports are text"));
}

fn judge_facts(cluster: &Cluster, host: &str, facts: Facts) {
    let node = facts.node.clone();
    let _ = run_roles(cluster, |name| (name == host).then_some(&node));
    let facts: BTreeMap<String, Facts> = [(host.to_owned(), facts)].into();
    let findings = preflight::check(cluster, &facts, &BTreeMap::new());
    findings.iter().for_each(|finding| assert_harmless(&report::clean_line(&finding.to_string())));
    if let Err(failure) = preflight::verdict(&findings) {
        assert_harmless(&render_failure(&[], &failure, Verbosity::Normal, false));
    }
}

fn judge_cluster(host: &str, facts: Facts, survey: crate::adopt::Survey) {
    let address = "10.77.0.11".to_owned();
    let named = Named { target: format!("root@{host}"), address, user: "root".into(), port: 22, facts, survey };
    if let Err(failure) = adopt(&[named], &Reached::default(), time::OffsetDateTime::UNIX_EPOCH) {
        assert!(!failure.cause.contains("mistake of kboot's"), "{failure:?}");
    }
}

fn judge_lock(cluster: &Cluster, host: &str, resolved: Resolved) {
    let answer = Answer { resolved, host_key: "ssh-ed25519 AAAA".into() };
    if let Ok(Composed { lock, .. }) = lock::compose(cluster, None, &[(host.to_owned(), answer)].into()) {
        let text = lock::print(&lock, lock::HEAD);
        // A lie may be no lock; it must not become another one.
        if let Ok(again) = lock::parse(&text, "kboot.lock".into()) {
            assert_eq!(again, lock);
        }
    }
}

/// What reporters have written.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
