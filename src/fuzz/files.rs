//! Kubernetes' own files, and what reaches a terminal.

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::assert_harmless;
use crate::pki::kubeconfig::{Authority, Kubeconfig, merge};
use crate::playbook::yaml_objects;
use crate::{equivalence, manifest, report, steps};

const ADMIN: &str = include_str!("../pki/testdata/kubeadm-admin.conf");

/// What is read is read again from what is written of it; what is merged into leads to the new cluster.
pub fn kubeconfig(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(found) = Kubeconfig::parse(text) {
        let written = found.to_yaml();
        let again = Kubeconfig::parse(written.expose_secret()).expect("one of its own");
        assert_eq!(again.to_yaml().expose_secret(), written.expose_secret());
        if let Ok(merged) = merge("", &found, "new") {
            assert_eq!(Kubeconfig::parse(merged.expose_secret()).expect("one of its own").server, found.server);
            assert!(matches!(found.authority, Authority::Pem(_)));
        }
    }
    let admin = Kubeconfig::parse(ADMIN).expect("kubeadm's own");
    if let Ok(merged) = merge(text, &admin, "new") {
        let again =
            Kubeconfig::parse(merged.expose_secret()).unwrap_or_else(|why| panic!("{why}: {}", merged.expose_secret()));
        assert_eq!((again.server, again.cluster), (admin.server, admin.cluster));
    }
}

/// Objects of the cluster and manifests of static pods. Every text says the same as itself.
pub fn manifests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match yaml_objects::parse(text) {
        Ok(objects) => drop(manifest::images(&objects)),
        Err(problem) => assert!(text.is_char_boundary(problem.offset)),
    }
    steps::fuzzed::static_pod(text);
    for is_equivalent in [equivalence::pods, equivalence::kubelet_configurations] {
        let _ = is_equivalent(text, "kind: Pod\n");
        assert_eq!(is_equivalent(text, text), serde_yaml::from_str::<Value>(text).is_ok());
    }
}

/// Whatever the text, a terminal shows what is made of it as it stands.
pub fn terminal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let line = report::clean_line(&text);
    assert!(!line.contains('\n'));
    assert_harmless(&line);
    assert_harmless(&report::clean_text(&text));
    assert_harmless(&report::escape_json(&text));
    // What is clean stays as it is.
    assert_eq!(report::clean_line(&line), line);
}
