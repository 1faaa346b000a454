//! The last guard before something is shown: nothing secret leaves here, whatever the events' sender forgot.

use crate::engine::{Change, Content, Event, Kind, Proposed};

/// The event without anything secret in its changes.
pub(super) fn event(event: &Event) -> Event {
    let kind = match &event.kind {
        Kind::Planned { changes, after } => {
            let redacted = |proposed: &Proposed| Proposed { change: change(&proposed.change), cause: proposed.cause };
            Kind::Planned { changes: changes.iter().map(redacted).collect(), after: after.clone() }
        }
        Kind::ChangeStarted { change: made } => Kind::ChangeStarted { change: change(made) },
        Kind::ChangeFinished { change: made, millis } => Kind::ChangeFinished { change: change(made), millis: *millis },
        other => other.clone(),
    };
    Event { host: event.host.clone(), phase: event.phase.clone(), step: event.step.clone(), kind }
}

/// The change without anything secret. A file that is secret on one side is taken to be secret on the other as well: what was there
/// before was read from the host, and nobody could tell then.
pub(super) fn change(change: &Change) -> Change {
    match change.redacted() {
        Change::WriteFile { path, mode, before: Some(before), after } if is_digest(&before) || is_digest(&after) => {
            Change::WriteFile { path, mode, before: Some(digested(before)), after: digested(after) }
        }
        redacted => redacted,
    }
}

fn is_digest(content: &Content) -> bool {
    matches!(content, Content::Digest(_))
}

fn digested(content: Content) -> Content {
    match content {
        Content::Text(text) | Content::Bytes(text) => Content::Secret(text).redacted(),
        other => other.redacted(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FileMode;

    #[test]
    fn neither_side_of_a_secret_file_is_shown() {
        let secret = |text: &str| Content::Secret(text.into());
        let text = |text: &str| Content::Text(text.into());
        let sides = [
            (None, secret("hunter2")),
            (Some(text("hunter1")), secret("hunter2")),
            (Some(secret("hunter1")), text("hunter2")),
            (Some(secret("hunter1")), secret("hunter2")),
            (Some(text("hunter1")), Content::Digest("sha256:abc".into())),
            (Some(Content::Bytes("hunter1".into())), secret("hunter2")),
        ];
        for (before, after) in sides {
            let write = Change::WriteFile { path: "/key".into(), mode: FileMode::PRIVATE, before, after };
            let shown = serde_json::to_string(&change(&write)).unwrap();
            assert!(!shown.contains("hunter"), "{shown}");
            assert!(shown.contains("sha256:"), "{shown}");
        }
    }

    #[test]
    fn events_are_redacted_and_otherwise_kept() {
        let secret = Change::WriteFile {
            path: "/key".into(),
            mode: FileMode::PRIVATE,
            before: None,
            after: Content::Secret("hunter2".into()),
        };
        let kinds = [
            Kind::Planned { changes: vec![secret.clone().into()], after: Some("etcd".into()) },
            Kind::ChangeStarted { change: secret.clone() },
            Kind::ChangeFinished { change: secret, millis: 7 },
        ];
        for kind in kinds {
            let sent = Event { host: "n1".into(), phase: "pki".into(), step: "make-keys".into(), kind };
            let shown = event(&sent);
            assert_ne!(shown, sent);
            let (sent, shown) = (serde_json::to_value(&sent).unwrap(), serde_json::to_value(&shown).unwrap());
            assert!(!shown.to_string().contains("hunter"), "{shown}");
            for key in ["host", "phase", "step", "event", "after", "millis"] {
                assert_eq!(shown.get(key), sent.get(key));
            }
        }
    }
}
