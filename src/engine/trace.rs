//! How the things that a change touches are, before it and after it, for the journal.

use super::{Host, State, Thing, Touch, Trace};

/// Before: with what is needed to go back, and the directories above a path that the change will have to make.
pub(super) async fn before(host: &dyn Host, touches: &[Touch]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for touch in touches {
        let state = match &touch.before {
            Some(known) => known.clone(),
            None => host.state(&touch.thing).await,
        };
        if let (Thing::Path { path }, State::Absent) = (&touch.thing, &state) {
            let mut missing = Vec::new();
            let mut above = path.parent();
            while let Some(folder) = above {
                let thing = Thing::path(folder);
                if host.state(&thing).await != State::Absent || traces.iter().any(|known: &Trace| known.thing == thing)
                {
                    break;
                }
                missing.push(Trace { thing, state: State::Absent });
                above = folder.parent();
            }
            traces.extend(missing.into_iter().rev());
        }
        let state = if touch.is_secret { state.without_content() } else { state };
        traces.push(Trace { thing: touch.thing.clone(), state });
    }
    traces
}

/// After: only what tells whether somebody changes it later.
pub(super) async fn after(host: &dyn Host, touches: &[Touch], before: &[Trace]) -> Vec<Trace> {
    let mut traces = Vec::new();
    for Trace { thing, .. } in before {
        let known = touches.iter().find(|touch| touch.thing == *thing).and_then(|touch| touch.after.clone());
        let state = match known {
            Some(known) => known,
            None => host.state(thing).await.without_content(),
        };
        traces.push(Trace { thing: thing.clone(), state });
    }
    traces
}
