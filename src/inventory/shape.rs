//! Compares a YAML tree with the JSON Schema of the types: unknown and missing fields, wrong types, unknown words.
//!
//! It finds every such mistake and goes on, leaving out what is broken, so that what is left can still be checked. It
//! knows the parts of JSON Schema that schemars makes of our types, and nothing of what an inventory means.

use serde_json::{Map, Value};

use super::format;
use super::mistake::{Mistake, UnknownField, quote};
use super::path::Path;
use super::words;
use super::yaml::{Entry, Kind, Node};

/// What was found in a tree.
pub struct Shaped {
    /// The tree as JSON that deserializes: broken parts are left out, and where something must be, a placeholder stands.
    pub value: Value,
    /// The parts that were left out or stand for something else.
    pub broken: Vec<Path>,
    pub mistakes: Vec<Mistake>,
}

pub fn shape(node: &Node, schema: &Value) -> Shaped {
    let mut walk = Walk { schema, broken: Vec::new(), mistakes: Vec::new() };
    let value = walk.visit(node, schema, &Path::root(), true).unwrap_or_else(|| walk.placeholder(schema));
    Shaped { value, broken: walk.broken, mistakes: walk.mistakes }
}

struct Walk<'a> {
    schema: &'a Value,
    broken: Vec<Path>,
    mistakes: Vec<Mistake>,
}

impl<'a> Walk<'a> {
    /// The value as JSON; None if there is none to use.
    fn visit(&mut self, node: &Node, schema: &'a Value, path: &Path, required: bool) -> Option<Value> {
        let schema = self.resolve(schema);
        match &self.alternatives(schema)[..] {
            [] => {}
            [only] => return self.visit(node, only, path, required),
            several => return self.either(node, several, path, required),
        }
        if schema == &Value::Bool(true) || (schema.get("type").is_none() && choices(schema).is_empty()) {
            return Some(self.anything(node));
        }
        let choices = choices(schema);
        if !choices.is_empty() {
            return self.choice(node, &choices, path);
        }
        match (kind_of(schema), &node.kind) {
            // Nothing below a field of fields is the same as no field: all its lines may be commented out.
            ("object", Kind::Null) if !required => None,
            ("array", Kind::Null) if !required => None,
            ("object", Kind::Map(entries)) => Some(self.object(node, entries, schema, path)),
            ("array", Kind::List(items)) => Some(self.array(node, items, schema, path)),
            ("string", Kind::String(text)) => self.string(node, text, schema, path),
            ("integer", Kind::Number(number)) => self.integer(node, number, schema, path),
            ("boolean", Kind::Bool(value)) => Some((*value).into()),
            (kind, _) => {
                self.wrong_type(node, kind, schema, path, required);
                None
            }
        }
    }

    /// A value of the one of several schemas that is for its type.
    fn either(&mut self, node: &Node, several: &[&'a Value], path: &Path, required: bool) -> Option<Value> {
        let is_for = |schema: &&&Value| type_of(schema) == node_type(node);
        if let Some(schema) = several.iter().find(is_for) {
            return self.visit(node, schema, path, required);
        }
        let wanted: Vec<&str> = several.iter().map(|schema| wanted(type_of(schema))).collect();
        let message = format!("takes {}, not {}", wanted.join(" or "), describe(node));
        self.report(Mistake::new(path.clone(), message), node);
        None
    }

    fn object(&mut self, node: &Node, entries: &[Entry], schema: &'a Value, path: &Path) -> Value {
        let known = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties").filter(|rest| **rest != Value::Bool(false));
        let required: Vec<&str> = strings(schema.get("required")).collect();
        let mut object = Map::new();
        let mut misspelt = Vec::new();
        for entry in entries {
            let inner = path.key(&entry.key);
            let Some(schema) = known.and_then(|known| known.get(&entry.key)).or(rest) else {
                misspelt.extend(self.unknown_field(entry, known, path));
                continue;
            };
            let is_required = required.contains(&entry.key.as_str());
            match self.visit(&entry.value, schema, &inner, is_required || rest.is_some()) {
                Some(value) => {
                    object.insert(entry.key.clone(), value);
                }
                None => self.broken.push(inner),
            }
        }
        for name in required {
            let schema = known.and_then(|known| known.get(name)).unwrap_or(&Value::Null);
            if !object.contains_key(name) {
                object.insert(name.to_owned(), self.placeholder(schema));
                if !entries.iter().any(|entry| entry.key == name) {
                    self.broken.push(path.key(name));
                    // One mistake is told once.
                    if !misspelt.contains(&name) {
                        self.missing_field(node, entries, name, schema, path);
                    }
                }
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &'a Value, path: &Path) -> Value {
        let item_schema = schema.get("items").unwrap_or(&Value::Bool(true));
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            let message = if least == 1 { "is empty".into() } else { format!("takes at least {least}") };
            self.report(Mistake::new(path.clone(), message).maybe_hint(self.example(schema, "")), node);
            self.broken.push(path.clone());
        }
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let inner = path.index(index);
            list.push(self.visit(item, item_schema, &inner, true).unwrap_or_else(|| {
                self.broken.push(inner);
                self.placeholder(item_schema)
            }));
        }
        Value::Array(list)
    }

    fn string(&mut self, node: &Node, text: &str, schema: &Value, path: &Path) -> Option<Value> {
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        match format::check(format, text) {
            Ok(()) => Some(text.into()),
            Err(flaw) => {
                self.report(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint), node);
                None
            }
        }
    }

    fn integer(&mut self, node: &Node, number: &serde_json::Number, schema: &Value, path: &Path) -> Option<Value> {
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        let value = number.as_f64().unwrap_or_default();
        let message = match (least, most) {
            _ if value.fract() != 0.0 || !(number.is_u64() || number.is_i64()) => {
                format!("{number} is not a whole number")
            }
            (Some(least), Some(most)) if value < least || value > most => {
                format!("{number} is out of range: {least} to {most}")
            }
            (Some(least), _) if value < least => format!("{number} is too small: at least {least}"),
            _ => return Some(number.clone().into()),
        };
        self.report(Mistake::new(path.clone(), message), node);
        None
    }

    fn choice(&mut self, node: &Node, choices: &[&str], path: &Path) -> Option<Value> {
        let Kind::String(text) = &node.kind else {
            let message = format!("takes one of {}, not {}", list(choices), describe(node));
            self.report(Mistake::new(path.clone(), message), node);
            return None;
        };
        if choices.contains(&text.as_str()) {
            return Some(text.as_str().into());
        }
        let message = match choices {
            [only] => format!("must be {}, not {}", quote(only), quote(text)),
            _ => format!("{} is none of {}", quote(text), list(choices)),
        };
        let hint = words::did_you_mean(text, choices);
        self.report(Mistake::new(path.clone(), message).maybe_hint(hint), node);
        None
    }

    /// Free-form values: whatever JSON can say.
    fn anything(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => (*value).into(),
            Kind::Number(number) => number.clone().into(),
            Kind::String(text) => text.as_str().into(),
            Kind::List(items) => items.iter().map(|item| self.anything(item)).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|e| (e.key.clone(), self.anything(&e.value))).collect())
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, kind: &str, schema: &Value, path: &Path, required: bool) {
        let wanted = wanted(kind);
        if node.kind == Kind::Null {
            let hint = match self.example(schema, "") {
                Some(example) => Some(example),
                None if required => None,
                None => Some("remove the line to take the default".into()),
            };
            self.report(Mistake::new(path.clone(), format!("has no value, but takes {wanted}")).maybe_hint(hint), node);
            return;
        }
        let hint = match (kind, &node.kind) {
            ("array", Kind::String(text)) => Some(format!("write a list: `[{text}]`")),
            ("string", Kind::Number(_)) if schema.get("examples").is_some() => self.example(schema, ""),
            ("string", Kind::Number(number)) => Some(format!("in quotes it is text: `\"{number}\"`")),
            ("string", Kind::Bool(value)) => Some(format!("in quotes it is text: `\"{value}\"`")),
            ("integer", Kind::String(text)) if text.parse::<u64>().is_ok() => Some(format!("without quotes: `{text}`")),
            ("boolean", Kind::String(text)) if text.eq_ignore_ascii_case("yes") => Some("write `true`".into()),
            ("boolean", Kind::String(text)) if text.eq_ignore_ascii_case("no") => Some("write `false`".into()),
            _ => self.example(schema, ""),
        };
        let message = format!("takes {wanted}, not {}", describe(node));
        self.report(Mistake::new(path.clone(), message).maybe_hint(hint), node);
    }

    /// Tells an unknown field; the known one that was probably meant.
    fn unknown_field(&mut self, entry: &Entry, known: Option<&'a Map<String, Value>>, path: &Path) -> Option<&'a str> {
        let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let meant = words::nearest(&entry.key, &names);
        let hint = match meant {
            Some(name) => format!("did you mean {}?", quote(name)),
            None => match self.elsewhere(&entry.key) {
                Some(place) => format!("it is a field of {}: `{place}.{}`", quote(place), entry.key),
                None => format!("the fields here are {}", list(&names)),
            },
        };
        let mut mistake = Mistake::new(path.key(&entry.key), "is no field that kboot knows").hint(hint);
        mistake.unknown = Some(if meant.is_some() { UnknownField::Similar } else { UnknownField::Other });
        self.mistakes.push(mistake.at(entry.key_span.clone()));
        meant
    }

    fn missing_field(&mut self, node: &Node, entries: &[Entry], name: &str, schema: &'a Value, path: &Path) {
        let place = entries.first().map_or(node.span.clone(), |first| first.key_span.clone());
        let mistake = Mistake::new(path.clone(), format!("lacks the field `{name}`"));
        self.mistakes.push(mistake.maybe_hint(self.example(schema, name)).at(place));
    }

    /// The top-level field that has a field of this name.
    fn elsewhere(&self, name: &str) -> Option<&'a str> {
        let fields = self.schema.get("properties")?.as_object()?;
        let has = |schema: &'a Value| self.resolve(schema).get("properties").and_then(|p| p.get(name)).is_some();
        fields.iter().find(|(_, schema)| has(schema)).map(|(field, _)| field.as_str())
    }

    /// A hint made of the schema's example, for a value or for the field `name`.
    fn example(&self, schema: &'a Value, name: &str) -> Option<String> {
        let resolved = self.resolve(schema);
        let example = match choices(resolved).first() {
            Some(choice) => (*choice).to_owned(),
            None => schema.get("examples").or_else(|| resolved.get("examples"))?.get(0)?.as_str()?.to_owned(),
        };
        Some(match name {
            "" => format!("for example `{example}`"),
            _ => format!("for example `{name}: {example}`"),
        })
    }

    fn placeholder(&self, schema: &'a Value) -> Value {
        let schema = self.resolve(schema);
        if let Some(first) = self.alternatives(schema).first() {
            return self.placeholder(first);
        }
        if let Some(choice) = choices(schema).first() {
            return (*choice).into();
        }
        match (kind_of(schema), schema.get("format").and_then(Value::as_str)) {
            ("array", _) => Value::Array(Vec::new()),
            ("object", _) => {
                let fields = schema.get("properties");
                let field = |name| fields.and_then(|fields| fields.get(name)).unwrap_or(&Value::Null);
                strings(schema.get("required")).map(|name| (name.to_owned(), self.placeholder(field(name)))).collect()
            }
            ("integer", _) => 1.into(),
            ("boolean", _) => false.into(),
            (_, Some(format)) => format::placeholder(format).into(),
            _ => "".into(),
        }
    }

    fn report(&mut self, mistake: Mistake, node: &Node) {
        self.mistakes.push(mistake.at(node.span.clone()));
    }

    /// The schemas of which one must fit; a null beside them means no more than that the field may be left out.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        let parts = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        parts.map(|part| self.resolve(part)).filter(|part| kind_of(part) != "null").collect()
    }

    /// Follows a reference into `$defs`.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        target.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }
}

/// The type that is wanted, whether or not it may be left out.
fn kind_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|&k| k != "null").unwrap_or("null"),
        _ => "",
    }
}

/// The same for an enumeration, too.
fn type_of(schema: &Value) -> &str {
    if choices(schema).is_empty() { kind_of(schema) } else { "string" }
}

fn node_type(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Null => "null",
        Kind::Bool(_) => "boolean",
        Kind::Number(_) => "integer",
        Kind::String(_) => "string",
        Kind::List(_) => "array",
        Kind::Map(_) => "object",
    }
}

fn wanted(kind: &str) -> &'static str {
    match kind {
        "object" => "fields",
        "array" => "a list",
        "integer" => "a whole number",
        "boolean" => "true or false",
        _ => "text",
    }
}

/// The words of an enumeration.
fn choices(schema: &Value) -> Vec<&str> {
    let own = strings(schema.get("enum")).chain(schema.get("const").and_then(Value::as_str));
    let parts = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    own.chain(parts.flat_map(choices)).collect()
}

fn strings(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(", ")
}

fn describe(node: &Node) -> String {
    match &node.kind {
        Kind::Null => "nothing".into(),
        Kind::Bool(value) => format!("`{value}`"),
        Kind::Number(number) => format!("the number {number}"),
        // Long text is rather some other kind of file, and perhaps a secret one.
        Kind::String(text) if text.len() > 30 => "text".into(),
        Kind::String(text) => format!("the text {}", quote(text)),
        Kind::List(_) => "a list".into(),
        Kind::Map(_) => "fields".into(),
    }
}

/// Panics at a keyword that this module neither reads nor knows to say nothing about shape. One that schemars begins to make for our types
/// must be read here before it may be added.
#[cfg(test)]
pub fn only_known_keywords(schema: &Value) {
    const KNOWN: [&str; 21] = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "examples",
        "format",
        "items",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];
    let Value::Object(fields) = schema else { return };
    for (keyword, value) in fields {
        assert!(KNOWN.contains(&keyword.as_str()), "`{keyword}` in {schema:#}");
        match (keyword.as_str(), value) {
            ("properties" | "$defs", Value::Object(schemas)) => schemas.values().for_each(only_known_keywords),
            ("oneOf" | "anyOf", Value::Array(schemas)) => schemas.iter().for_each(only_known_keywords),
            ("items" | "additionalProperties", schema) => only_known_keywords(schema),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::schema;
    use crate::inventory::yaml::INVENTORY;

    #[test]
    fn every_keyword_of_the_schema_is_known() {
        only_known_keywords(schema::value());
    }

    /// What is left when everything is broken must still deserialize.
    #[test]
    fn placeholders_deserialize() {
        let (node, _) =
            Node::read("hosts: [1, {name: {}, address: [], roles: x}, {roles: [x]}]\nname: []\n", INVENTORY).unwrap();
        let shaped = shape(&node, schema::value());
        assert!(shaped.mistakes.len() >= 8);
        serde_json::from_value::<crate::inventory::Cluster>(shaped.value).unwrap();
    }
}
