//! YAML as a tree that knows where each value was written.
//!
//! Scalars follow YAML 1.2's core schema, so `yes` and `1_000` are strings. Aliases are expanded, within bounds.
//! It knows nothing of inventories.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Number;

use super::mistake::{Mistake, position, quote};
use super::path::{Path, Step};

/// How many bytes aliases may add to what is written: enough for any honest file, and no bomb.
const ALIAS_BUDGET: usize = 4 << 20;
/// What a value takes beside its text.
const VALUE: usize = 32;
/// How deep values may be in one another by aliases: about as deep as the parser lets them be without. All who walk a tree recurse.
const DEPTH: usize = 512;

/// What kind of file a text is, for messages about it as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Sort {
    /// As "an inventory".
    pub noun: &'static str,
    /// What to do with a second document.
    pub apart: &'static str,
    /// What it takes at least.
    pub least: &'static str,
}

pub const INVENTORY: Sort = Sort {
    noun: "an inventory",
    apart: "keep each cluster in a file of its own",
    least: "it takes at least `apiVersion`, `kind` and `hosts`",
};

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

impl Node {
    /// Reads the only document of a text. Duplicate fields are told in the list and left out of the tree; any other
    /// mistake ends the reading.
    pub fn read(text: &str, sort: Sort) -> Result<(Self, Vec<Mistake>), Mistake> {
        Reader::new(text, sort).document()
    }

    /// Reads all documents of a text, of which there may be none; empty ones are left out. Mistakes as in `read`.
    pub fn read_all(text: &str, sort: Sort) -> Result<(Vec<Self>, Vec<Mistake>), Mistake> {
        Reader::new(text, sort).documents()
    }

    /// The place of a path's value or, with `key`, of its name; where the path goes further than the file, its deepest
    /// part that is there.
    pub fn locate(&self, path: &Path, key: bool) -> Range<usize> {
        let (mut node, mut span) = (self, self.span.clone());
        for step in path.steps() {
            let next = match (&node.kind, step) {
                (Kind::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| (&entry.value, entry.key_span.clone()))
                }
                (Kind::List(items), Step::Index(index)) => items.get(*index).map(|item| (item, item.span.clone())),
                _ => None,
            };
            let Some((value, name)) = next else { return span };
            // A block's value starts on its first field, which would mislead: its name is the better place.
            let is_block = matches!(value.kind, Kind::Map(_) | Kind::List(_));
            span = if key || is_block { name } else { value.span.clone() };
            node = value;
        }
        span
    }

    /// How many values are in one another, itself included.
    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Self::depth).max().unwrap_or_default(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.depth()).max().unwrap_or_default(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => 0,
        }
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        VALUE
            + match &self.kind {
                Kind::List(items) => items.iter().map(Self::size).sum(),
                Kind::Map(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.size()).sum(),
                Kind::String(text) => text.len(),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) => 0,
            }
    }
}

struct Reader<'a> {
    text: &'a str,
    sort: Sort,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    budget: usize,
    /// How many lists and maps the reader is in.
    depth: usize,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, sort: Sort) -> Self {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        Self {
            text,
            sort,
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            budget: ALIAS_BUDGET,
            depth: 0,
            mistakes: Vec::new(),
        }
    }

    fn document(mut self) -> Result<(Node, Vec<Mistake>), Mistake> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentStart(..) if document.is_some() => {
                    let message = format!("a second document starts here, but {} is a single one", self.sort.noun);
                    return Err(Mistake::new(Path::root(), message).hint(self.sort.apart).at(range(&span)));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    document = Some(self.node(event, &span, &Path::root())?);
                }
                Event::StreamEnd => break,
                _ => {}
            }
        }
        match document {
            Some(Node { kind: Kind::Null, .. }) | None => {
                Err(Mistake::new(Path::root(), "the file is empty").hint(self.sort.least))
            }
            Some(node) => Ok((node, self.mistakes)),
        }
    }

    fn documents(mut self) -> Result<(Vec<Node>, Vec<Mistake>), Mistake> {
        let mut documents = Vec::new();
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    let document = self.node(event, &span, &Path::root())?;
                    // An alias means a value of its own document.
                    self.anchors.clear();
                    if document.kind != Kind::Null {
                        documents.push(document);
                    }
                }
                Event::StreamEnd => return Ok((documents, self.mistakes)),
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, path: &Path) -> Result<Node, Mistake> {
        let (anchor, kind) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), span, path)?),
            Event::SequenceStart(_, anchor, tag) => {
                refuse_custom(tag.as_deref(), span, path)?;
                self.depth += 1;
                let items = self.list(path)?;
                self.depth -= 1;
                (anchor, Kind::List(items))
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_custom(tag.as_deref(), span, path)?;
                self.depth += 1;
                let entries = self.map(path)?;
                self.depth -= 1;
                (anchor, Kind::Map(entries))
            }
            Event::Alias(anchor) => return self.alias(anchor, span, path),
            _ => return Err(Mistake::new(path.clone(), "is not a value").at(range(span))),
        };
        let node = Node { kind, span: range(span) };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &Path) -> Result<Vec<Node>, Mistake> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let path = path.index(items.len());
            items.push(self.node(event, &span, &path)?);
        }
    }

    fn map(&mut self, path: &Path) -> Result<Vec<Entry>, Mistake> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Event::Scalar(key, style, ..) = event else {
                return Err(Mistake::new(path.clone(), "a field's name must be plain text").at(range(&span)));
            };
            if key == "<<" && style == ScalarStyle::Plain {
                return Err(Mistake::new(path.clone(), "merge keys (`<<`) are no part of YAML 1.2")
                    .hint("write the fields out, or use an alias for a whole value")
                    .at(range(&span)));
            }
            let inner = path.key(&key);
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span, &inner)?;
            let key_span = range(&span);
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => {
                    let line = position(self.text, first.key_span.start).0;
                    let message = format!("is given twice, first on line {line}");
                    self.mistakes.push(Mistake::new(inner, message).hint("keep one of them").at(key_span));
                }
                None => entries.push(Entry { key: key.into_owned(), key_span, value }),
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: &Span, path: &Path) -> Result<Node, Mistake> {
        let refuse = |message: &str| Err(Mistake::new(path.clone(), message).at(range(span)));
        let Some(target) = self.anchors.get(&anchor) else {
            return refuse("the alias stands inside the very value that it names");
        };
        let Some(left) = self.budget.checked_sub(target.size()) else {
            return refuse("aliases make this file too large");
        };
        if self.depth + target.depth() > DEPTH {
            return refuse("aliases make this file too deep");
        }
        self.budget = left;
        Ok(Node { span: range(span), ..target.clone() })
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Span,
        path: &Path,
    ) -> Result<Kind, Mistake> {
        refuse_custom(tag, span, path)?;
        let forced = tag.and_then(Tag::core_suffix) == Some("str");
        if forced || style != ScalarStyle::Plain {
            return Ok(Kind::String(text.to_owned()));
        }
        plain(text).map_err(|why| Mistake::new(path.clone(), format!("{} {why}", quote(text))).at(range(span)))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::empty(granit_parser::Marker::new(0, 1, 0)))),
        }
    }

    fn syntax(&self, error: &ScanError) -> Mistake {
        let offset = error.marker().byte_offset().unwrap_or(0).min(self.text.len());
        // An error at the end of the file is better shown on its last line.
        let offset = if offset == self.text.len() { self.text.trim_end().len() } else { offset };
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        let hint = indent.contains('\t').then(|| "indent with spaces: YAML takes no tabs".to_owned());
        Mistake::new(Path::root(), format!("not valid YAML: {}", error.info())).maybe_hint(hint).at(offset..offset)
    }
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

fn refuse_custom(tag: Option<&Tag>, span: &Span, path: &Path) -> Result<(), Mistake> {
    match tag {
        Some(tag) if tag.core_suffix().is_none() => {
            let place = span.tag_span().map_or_else(|| range(span), |span| range(&span));
            Err(Mistake::new(path.clone(), format!("the tag {} means nothing here", quote(&tag.original()))).at(place))
        }
        _ => Ok(()),
    }
}

/// What an unquoted scalar stands for in YAML 1.2's core schema.
fn plain(text: &str) -> Result<Kind, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    // A number that no field could hold is more likely a name or a serial number: `123456789012345678901234`, `1e400`.
    let text_of = || Kind::String(text.to_owned());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case(".inf") || text.eq_ignore_ascii_case(".nan") {
        return Err("is not a number that can be used here");
    }
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        let digits = text.strip_prefix(prefix).filter(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)));
        if let Some(digits) = digits {
            return Ok(u64::from_str_radix(digits, radix).map_or_else(|_| text_of(), |n| Kind::Number(n.into())));
        }
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = match text.strip_prefix('-') {
            Some(_) => text.parse::<i64>().map(Number::from),
            None => unsigned.parse::<u64>().map(Number::from),
        };
        return Ok(number.map_or_else(|_| text_of(), Kind::Number));
    }
    if is_float(unsigned) {
        let number = text.parse().ok().and_then(Number::from_f64);
        return Ok(number.map_or_else(text_of, Kind::Number));
    }
    Ok(Kind::String(text.to_owned()))
}

/// `[0-9]+.[0-9]*`, `.[0-9]+` or `[0-9]+`, with or without an exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Kind {
        let (node, mistakes) = Node::read(&format!("a: {text}\n"), INVENTORY).unwrap();
        assert_eq!(mistakes, []);
        match node.kind {
            Kind::Map(mut entries) => entries.remove(0).value.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_of_the_core_schema() {
        let string = |text: &str| Kind::String(text.into());
        for (text, kind) in [
            ("~", Kind::Null),
            ("True", Kind::Bool(true)),
            ("yes", string("yes")),
            ("12", Kind::Number(12.into())),
            ("-12", Kind::Number((-12).into())),
            ("+7", Kind::Number(7.into())),
            ("0o17", Kind::Number(15.into())),
            ("0x1F", Kind::Number(31.into())),
            ("1.37", Kind::Number(Number::from_f64(1.37).unwrap())),
            ("1e3", Kind::Number(Number::from_f64(1000.0).unwrap())),
            ("1_000", string("1_000")),
            ("v1.37.2", string("v1.37.2")),
            ("10.0.0.1", string("10.0.0.1")),
            ("\"12\"", string("12")),
            ("!!str 12", string("12")),
            ("1e", string("1e")),
            (".", string(".")),
            ("1e400", string("1e400")),
            ("123456789012345678901234", string("123456789012345678901234")),
        ] {
            assert_eq!(value(text), kind, "{text}");
        }
    }

    #[test]
    fn aliases_are_expanded_within_bounds() {
        let (node, _) = Node::read("a: &x [1, 2]\nb: *x\n", INVENTORY).unwrap();
        let Kind::Map(entries) = node.kind else { panic!() };
        assert_eq!(entries[0].value.kind, entries[1].value.kind);
        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert_eq!(Node::read(&bomb, INVENTORY).unwrap_err().message, "aliases make this file too large");
        assert!(Node::read("a: &x [*x]\n", INVENTORY).unwrap_err().message.contains("inside the very value"));
    }

    #[test]
    fn deep_nesting_is_refused_by_the_parser() {
        let deep = "[".repeat(100_000);
        assert!(Node::read(&deep, INVENTORY).is_err());
        assert!(Node::read(&"- ".repeat(100_000), INVENTORY).is_err());
    }

    #[test]
    fn a_long_text_repeated_is_a_bomb_as_well() {
        let aliases = "[*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n";
        let text = |length: usize| format!("a: &a {}\nb: {aliases}", "x".repeat(length));
        assert!(Node::read(&text(1_000), INVENTORY).is_ok());
        let told = Node::read(&text(1 << 20), INVENTORY).unwrap_err().message;
        assert_eq!(told, "aliases make this file too large");
    }

    #[test]
    fn chained_aliases_do_not_exhaust_the_stack() {
        let mut text = "a0: &a0 [1]\n".to_owned();
        for level in 1..5000 {
            text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(Node::read(&text, INVENTORY).is_err());
    }

    #[test]
    fn nor_do_deep_values_that_are_in_one_another_by_aliases() {
        let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(200), "]".repeat(200));
        let text = |levels: usize| {
            let first = format!("a0: &a0 {}\n", nested("x"));
            (1..levels).fold(first, |text, at| text + &format!("a{at}: &a{at} {}\n", nested(&format!("*a{}", at - 1))))
        };
        assert!(Node::read(&text(2), INVENTORY).is_ok());
        assert_eq!(Node::read(&text(3), INVENTORY).unwrap_err().message, "aliases make this file too deep");
    }

    #[test]
    fn places_are_found() {
        let text = "a:\n  b: one\nc: [x, y]\n";
        let (node, _) = Node::read(text, INVENTORY).unwrap();
        let at = |path: &Path, key| &text[node.locate(path, key)];
        assert_eq!(at(&Path::of("a.b"), false), "one");
        assert_eq!(at(&Path::of("a.b"), true), "b");
        assert_eq!(at(&Path::of("a"), false), "a");
        assert_eq!(at(&Path::of("c").index(1), false), "y");
        assert_eq!(at(&Path::of("a.b.missing"), false), "one");
    }
}
