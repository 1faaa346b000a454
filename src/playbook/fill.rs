//! Templates of playbooks: text with `{{ … }}` that is filled in for one host.
//!
//! Strict: what is not defined is a mistake, and all of a text's missing variables are told, each at its place.

use std::ops::Range;

use serde_json::Value;
use tera::{Context, Kwargs, State, Tera, TeraResult};

use crate::facts::Facts;
use crate::inventory::reading::{did_you_mean, nearest, quote};
use crate::inventory::{Cluster, Host};

/// What a template may name.
pub const ROOTS: [&str; 4] = ["cluster", "facts", "host", "vars"];
const FACTS: &str = "facts";

/// What is known of one host.
pub struct Values {
    context: Context,
    has_facts: bool,
}

/// What is wrong with a text, at these bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    pub message: String,
    pub hint: Option<String>,
    pub range: Range<usize>,
}

impl Values {
    pub fn new(cluster: &Cluster, host: &Host, vars: &Value, facts: Option<&Facts>) -> Self {
        let mut context = Context::new();
        let mut whole = serde_json::to_value(cluster).unwrap_or_default();
        // Where the inventory leaves it out, what kboot makes of that.
        whole["endpoint"] = cluster.endpoint().into();
        context.insert("cluster", &whole);
        context.insert("host", host);
        context.insert("vars", vars);
        if let Some(facts) = facts {
            context.insert(FACTS, facts);
        }
        Self { context, has_facts: facts.is_some() }
    }
}

/// Whether text of a playbook is more than it seems.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Checks all of a template that can be checked without a host.
pub fn check(text: &str) -> Result<(), Vec<Flaw>> {
    let tera = engine(text).map_err(|flaw| vec![flaw])?;
    let unknown = roots(&tera).into_iter().filter(|root| !ROOTS.contains(&root.as_str()));
    let flaws: Vec<Flaw> = unknown.map(|root| unknown_root(text, &root)).collect();
    if flaws.is_empty() { Ok(()) } else { Err(flaws) }
}

/// Fills a template in; None where it needs facts that are not known yet. What is missing beside them is told even then, unless
/// it is the facts that decide whether it is needed.
pub fn fill(text: &str, values: &Values) -> Result<Option<String>, Vec<Flaw>> {
    check(text)?;
    let lacks_facts =
        !values.has_facts && roots(&engine(text).map_err(|flaw| vec![flaw])?).iter().any(|root| root == FACTS);
    let decides = text.contains("{%") || text.contains(" if ");
    if lacks_facts && decides {
        return Ok(None);
    }
    let mut flaws: Vec<Flaw> = Vec::new();
    let mut masked = text.to_string();
    let ended = loop {
        // Where what stands for a missing variable does not fit, there is no looking further.
        let Ok(tera) = engine(&masked) else { break None };
        let error = match tera.render(NAME, &values.context) {
            Ok(filled) => break Some(filled),
            Err(error) => explain(&error, text),
        };
        let range = error.flaw.range.clone();
        let is_consequence = masked != text && !error.is_undefined;
        let is_fact = lacks_facts && text[range.clone()].starts_with(FACTS);
        // What a missing variable leads to is no mistake of its own.
        if !is_consequence && !is_fact {
            flaws.push(error.flaw);
        }
        if !error.is_undefined || range.len() < 2 || flaws.len() > 100 {
            break None;
        }
        // An empty text of the same length stands for it while the next one is looked for.
        let blank = format!("\"\"{}", " ".repeat(range.len() - 2));
        if masked.get(range.clone()) == Some(&blank) {
            break None;
        }
        masked.replace_range(range, &blank);
    };
    match flaws.is_empty() {
        true => Ok(ended.filter(|_| !lacks_facts)),
        false => Err(flaws),
    }
}

const NAME: &str = "text";

fn engine(text: &str) -> Result<Tera, Flaw> {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("json", json);
    match tera.add_raw_template(NAME, text) {
        Ok(()) => Ok(tera),
        Err(error) => Err(explain(&error, text).flaw),
    }
}

fn json(value: tera::Value, _: Kwargs, _: &State) -> TeraResult<String> {
    if value.is_undefined() {
        return Err(tera::Error::message("what is not defined can't be written as JSON"));
    }
    serde_json::to_string(&value).map_err(|error| tera::Error::chain("not a value that JSON has", error))
}

fn roots(tera: &Tera) -> Vec<String> {
    let mut names: Vec<String> =
        tera.get_template_variables(NAME).unwrap_or_default().into_iter().map(String::from).collect();
    names.sort_unstable();
    names
}

fn unknown_root(text: &str, root: &str) -> Flaw {
    let start = first_word(text, root);
    let hint = did_you_mean(root, &ROOTS)
        .unwrap_or_else(|| format!("templates know {}; values of your own are `vars.{root}`", ROOTS.join(", ")));
    Flaw {
        message: format!("the variable {} is not defined", quote(root)),
        hint: Some(hint),
        range: start..start + root.len(),
    }
}

/// Where a name stands by itself, inside braces.
fn first_word(text: &str, word: &str) -> usize {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let from = text.find("{{").into_iter().chain(text.find("{%")).min().unwrap_or(0);
    let found = text[from..].match_indices(word).map(|(offset, _)| from + offset).find(|start| {
        !is_part(text[..*start].chars().next_back())
            && !text[start + word.len()..].chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    found.unwrap_or(from)
}

struct Explained {
    flaw: Flaw,
    is_undefined: bool,
}

/// The engine's words as kboot's.
fn explain(error: &tera::Error, text: &str) -> Explained {
    use tera::ErrorKind::{RenderingError, SyntaxError};
    let (said, range) = match error.kind() {
        SyntaxError(report) | RenderingError(report) => (report.message().to_string(), report.span().range.clone()),
        other => reported(&other.to_string(), text),
    };
    let range = if range.end <= text.len() && range.start <= range.end { range } else { 0..text.len() };
    let (first, available) = match said.split_once(" Available ") {
        Some((first, available)) => (first, available.split_once(": ").map(|(_, names)| names)),
        None => (said.as_str(), None),
    };
    let is_undefined = first.contains("is not defined") || first.contains("is undefined");
    if !is_undefined {
        let mut letters = first.trim_end_matches('.').chars();
        let message = letters.next().map(|c| c.to_lowercase().chain(letters).collect::<String>()).unwrap_or_default();
        return Explained { flaw: Flaw { message, hint: None, range }, is_undefined };
    }
    // Of `vars.a.b` the engine may point at the last part alone.
    let range = whole_name(text, range);
    let part = text.get(range.clone()).unwrap_or_default().trim();
    let names: Vec<&str> = available.into_iter().flat_map(|names| names.split(", ")).collect();
    let last = first.split('`').nth(1).unwrap_or_default();
    let hint = match nearest(last, &names) {
        Some(name) => Some(format!("did you mean {}?", quote(name))),
        None if part.starts_with("vars.") || part == last => {
            Some("define it in the playbook's `vars`, in the inventory's, or with `--var NAME=VALUE`".to_string())
        }
        None if !names.is_empty() && names.len() <= 12 => Some(format!("there are {}", names.join(", "))),
        None => None,
    };
    let name = if part.is_empty() { last } else { part };
    Explained { flaw: Flaw { message: format!("{} is not defined", quote(name)), hint, range }, is_undefined }
}

/// What the engine gives as a ready-made report: the message, and the place in its second line, as ` --> text:1:16`.
fn reported(report: &str, text: &str) -> (String, Range<usize>) {
    let mut lines = report.lines();
    let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_string();
    let place = lines.next().and_then(|line| {
        let (line, column) = line.rsplit_once(&format!("{NAME}:"))?.1.split_once(':')?;
        let (line, column): (usize, usize) = (line.parse().ok()?, column.parse().ok()?);
        let start = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
        let before = text.get(start..)?.char_indices().nth(column.checked_sub(1)?)?.0;
        let marks = report.lines().last()?.matches('^').count();
        let rest = text.get(start + before..)?;
        let width = rest.chars().take(marks).map(char::len_utf8).sum::<usize>();
        Some(start + before..start + before + width)
    });
    (message, place.unwrap_or(0..text.len()))
}

fn whole_name(text: &str, range: Range<usize>) -> Range<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let start = if before.ends_with('.') { before.trim_end_matches(is_part).len() } else { range.start };
    let rest = if after.starts_with('.') { after.len() - after.trim_start_matches(is_part).len() } else { 0 };
    start..range.end + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Role;
    use serde_json::json;

    fn values() -> Values {
        let host = Host::new("n1", [10, 0, 0, 1].into(), vec![Role::ControlPlane]);
        let cluster = Cluster::single(host.clone());
        Values::new(&cluster, &host, &json!({"ntp": "10.0.0.9", "deep": {"er": 1}}), None)
    }

    fn flaws(text: &str) -> Vec<(String, String)> {
        let flaws = fill(text, &values()).unwrap_err();
        flaws.into_iter().map(|flaw| (flaw.message, text[flaw.range].to_string())).collect()
    }

    fn told(message: &str, part: &str) -> (String, String) {
        (message.into(), part.into())
    }

    #[test]
    fn values_stand_where_they_are_named() {
        let text = "{{ host.name }} {{ vars.deep.er + 1 }} {{ cluster.endpoint }} {{ vars.ntp | json }} <&\"";
        assert_eq!(fill(text, &values()).unwrap().unwrap(), "n1 2 10.0.0.1:6443 \"10.0.0.9\" <&\"");
        let text = "{% for h in cluster.hosts %}{{ h.address }};{% endfor %}";
        assert_eq!(fill(text, &values()).unwrap().unwrap(), "10.0.0.1;");
    }

    #[test]
    fn all_missing_variables_are_told_at_their_places() {
        assert_eq!(
            flaws("a {{ vars.nope }}\nb {{ host.nam }} {{ vars.ntp }} {{ vars.deep.est }}"),
            [
                told("`vars.nope` is not defined", "vars.nope"),
                told("`host.nam` is not defined", "host.nam"),
                told("`vars.deep.est` is not defined", "vars.deep.est"),
            ]
        );
        assert_eq!(flaws("x {{ ntp }}"), [told("the variable `ntp` is not defined", "ntp")]);
        assert_eq!(flaws("{{ vars.nope | json }}").len(), 1);
    }

    #[test]
    fn syntax_is_checked_before_anything_is_known() {
        let flaws = check("a\n{{ host.name }").unwrap_err();
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert!(check("{{ facts.os.id }}").is_ok());
        assert!(check("{{ fact.os.id }}").unwrap_err()[0].hint.as_ref().unwrap().contains("`facts`"));
        let text = "a\n{{ host.name | nofilter }}";
        let flaws = check(text).unwrap_err();
        assert_eq!(
            (flaws[0].message.as_str(), &text[flaws[0].range.clone()]),
            ("unknown filter `nofilter`", "nofilter")
        );
    }

    #[test]
    fn what_needs_facts_waits_for_them_and_all_else_does_not() {
        assert_eq!(fill("{{ facts.os.id }} {{ facts.kernel | upper }}", &values()).unwrap(), None);
        assert_eq!(flaws("{{ facts.os.id }} {{ vars.nope }}"), [told("`vars.nope` is not defined", "vars.nope")]);
        let text = "{% if facts.os.id == 'debian' %}{{ vars.nope }}{% endif %}";
        assert_eq!(fill(text, &values()).unwrap(), None);
    }
}
