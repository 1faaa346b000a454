//! From a playbook's text to its written form: the shape of every field, with the place of each mistake.

use std::sync::{Arc, LazyLock};

use camino::Utf8Path;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::source::{Findings, Source};
use super::written::Document;
use crate::inventory::reading::{Node, Sort, shape};
use crate::inventory::{Mistake, Path};

const PLAYBOOK: Sort = Sort {
    noun: "a playbook",
    apart: "keep each playbook in a file of its own; one `extends` another",
    least: "it takes at least `name` and `phases`",
};

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Document>().to_value());

/// The JSON Schema of playbooks as text, with a newline at its end.
pub fn schema() -> String {
    format!("{:#}\n", *SCHEMA)
}

/// Reads a playbook's text; None where so little of it can be read that nothing more can be said.
pub fn read(text: String, origin: &Utf8Path, findings: &mut Findings) -> Option<(Arc<Source>, Document)> {
    let bare = |text| Arc::new(Source { origin: origin.to_owned(), text, node: None, broken: Vec::new() });
    let (node, mistakes) = match Node::read(&text, PLAYBOOK) {
        Ok(read) => read,
        Err(mistake) => {
            findings.push(&bare(text), mistake);
            return None;
        }
    };
    let shaped = shape(&node, &SCHEMA);
    let source = Arc::new(Source { origin: origin.to_owned(), text, node: Some(node), broken: shaped.broken });
    findings.extend(&source, mistakes.into_iter().chain(shaped.mistakes));
    match serde_json::from_value(shaped.value) {
        Ok(document) => Some((source, document)),
        Err(error) => {
            // Only if the schema and the types part ways, which the tests would have to miss.
            findings.push(&source, Mistake::new(Path::root(), error.to_string()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::reading::only_known_keywords;

    #[test]
    fn every_keyword_of_the_schema_is_known() {
        only_known_keywords(&SCHEMA);
    }

    /// What is left when everything is broken must still deserialize.
    #[test]
    fn placeholders_deserialize() {
        let text = "name: []\nvars: x\nhooks: [1, {steps: 2}]\nphases: [{hosts: 7, steps: [1, {file: {}, wait: {object: {}}}]}]\n";
        let mut findings = Findings::default();
        assert!(read(text.into(), "a.yaml".into(), &mut findings).is_some());
        let told = findings.result().unwrap_err().to_string();
        assert!(told.lines().filter(|line| line.starts_with("a.yaml:")).count() >= 8, "{told}");
    }
}
