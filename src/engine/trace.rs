//! How the things that a change touches are, before it and after it, for the journal.

use super::{Host, State, Subject, Touch, Trace};

/// Before: with what is needed to go back, and the directories above a path that the change will have to make.
pub(super) async fn before(host: &dyn Host, touches: &[Touch]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for touch in touches {
        let state = match &touch.before {
            Some(known) => known.clone(),
            None => host.state(&touch.subject).await,
        };
        if let (Subject::Path { path }, State::Absent) = (&touch.subject, &state) {
            let mut missing = Vec::new();
            let mut above = path.parent();
            while let Some(folder) = above {
                let subject = Subject::path(folder);
                if host.state(&subject).await != State::Absent
                    || traces.iter().any(|known: &Trace| known.subject == subject)
                {
                    break;
                }
                missing.push(Trace { subject, state: State::Absent });
                above = folder.parent();
            }
            traces.extend(missing.into_iter().rev());
        }
        let state = if touch.is_secret { state.without_content() } else { state };
        traces.push(Trace { subject: touch.subject.clone(), state });
    }
    traces
}

/// After: only what tells whether somebody changes it later.
pub(super) async fn after(host: &dyn Host, touches: &[Touch], before: &[Trace]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for Trace { subject, .. } in before {
        let known = touches.iter().find(|touch| touch.subject == *subject).and_then(|touch| touch.after.clone());
        let state = match known {
            Some(known) => known,
            None => host.state(subject).await.without_content(),
        };
        traces.push(Trace { subject: subject.clone(), state });
    }
    traces
}
