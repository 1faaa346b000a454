//! One JSON object a line, for programs: each event as it happens, the summary at the end. docs/events.md describes them.

use std::io::Write;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::clean::escape_json;
use super::{Reporter, Summary, redact};
use crate::engine::Event;

/// Writes every event, whatever the verbosity: a program picks what it needs.
pub struct Json {
    out: Box<dyn Write + Send>,
    now: fn() -> OffsetDateTime,
}

impl Json {
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, now: OffsetDateTime::now_utc }
    }

    fn write(&mut self, object: &impl Serialize) {
        /// An object with the time before its own fields.
        #[derive(Serialize)]
        struct Stamped<'a, T> {
            time: String,
            #[serde(flatten)]
            object: &'a T,
        }
        let now = (self.now)();
        let time = now.replace_nanosecond(now.millisecond() as u32 * 1_000_000).unwrap_or(now);
        let time = time.format(&Rfc3339).unwrap_or_default();
        let text = serde_json::to_string(&Stamped { time, object }).expect("events and summaries are plain data");
        // A reader that is gone (`| head`) doesn't stop a run.
        let _ = writeln!(self.out, "{}", escape_json(&text)).and_then(|()| self.out.flush());
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event) {
        self.write(&redact::event(event));
    }

    fn finish(&mut self, summary: &Summary) {
        #[derive(Serialize)]
        struct Last<'a> {
            event: &'static str,
            #[serde(flatten)]
            summary: &'a Summary,
        }
        self.write(&Last { event: "summary", summary });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SummaryBuilder, samples, sink::Buffer};
    use super::*;
    use crate::engine::{Failure, Hint, Kind, Mode};

    fn run(mode: Mode, events: &[Event]) -> String {
        let buffer = Buffer::default();
        let now = || time::macros::datetime!(2026-11-22 17:00:00.123456789 UTC);
        let mut json = Json { out: Box::new(buffer.clone()), now };
        let mut builder = SummaryBuilder::new(mode, ["n1"]);
        for event in events {
            json.event(event);
            builder.event(event);
        }
        json.finish(&builder.finish(20_000));
        buffer.text()
    }

    #[test]
    fn a_whole_run() {
        insta::assert_snapshot!(run(Mode::Apply, &samples::apply()));
    }

    #[test]
    fn events_can_be_read_back() {
        let events = samples::apply();
        let count = events.len();
        let text = run(Mode::Apply, &events);
        let lines: Vec<&str> = text.lines().collect();
        let read: Vec<Event> = lines[..count].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let without_words = |event: Event| match event.kind {
            // Nobody reads a hint that has no code.
            Kind::Warning { text, hint: Some(Hint::Text(_)) } => {
                Event { kind: Kind::Warning { text, hint: None }, ..event }
            }
            _ => event,
        };
        assert_eq!(read, events.into_iter().map(without_words).collect::<Vec<_>>());
        let last: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
        assert_eq!((lines.len(), &last["event"]), (count + 1, &"summary".into()));
    }

    #[test]
    fn each_kind_of_change_has_an_id_of_its_own_which_begins_with_the_kind() {
        let mut ids = std::collections::BTreeSet::new();
        for change in samples::changes() {
            let event = samples::at("n1", "p", "s", Kind::ChangeStarted { change: change.clone() });
            let value = serde_json::to_value(&event).unwrap();
            let field = |name: &str| value["change"][name].as_str().unwrap_or_default().to_owned();
            assert!(field("id").starts_with(&format!("{}:", field("change"))), "{value}");
            assert_eq!(change.redacted().id(), change.id());
            ids.insert(field("id"));
        }
        assert_eq!(ids.len(), samples::changes().len());
    }

    #[test]
    fn no_secret_is_written() {
        let text = run(Mode::Plan, &samples::plan());
        assert!(text.contains("sa.key") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn control_characters_are_escaped_and_kept() {
        let failure = Failure::new("x").evidence(["\x1b[2J\u{9b}31m\x7f\r\n"]);
        let text = run(Mode::Apply, &[samples::at("n1", "", "", Kind::Failed { failure: failure.clone() })]);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let read: Event = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(read.kind, Kind::Failed { failure });
    }

    #[test]
    fn the_documentation_names_every_event_change_and_field() {
        let documentation = include_str!("../../docs/events.md");
        fn names(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(fields) => {
                    for (key, value) in fields {
                        found.push(key.clone());
                        if matches!(key.as_str(), "event" | "change" | "outcome" | "mode") {
                            found.extend(value.as_str().map(String::from));
                        }
                        // What an object of the cluster holds is not ours to describe.
                        if key != "object" && key != "before" {
                            names(value, found);
                        }
                    }
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        for text in [
            run(Mode::Apply, &samples::apply()),
            run(Mode::Plan, &samples::plan()),
            run(Mode::Apply, &samples::every_change()),
        ] {
            for line in text.lines() {
                names(&serde_json::from_str(line).unwrap(), &mut found);
            }
        }
        found.sort();
        found.dedup();
        let missing: Vec<&String> = found.iter().filter(|name| !documentation.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "docs/events.md doesn't name {missing:?}");
    }
}
