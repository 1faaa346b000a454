//! Where something is in an inventory: `hosts[2].address`.

use std::fmt;

use serde_json::Value;

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of field names, as `network.podSubnet`.
    pub fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Step::Key(key.to_owned())).collect())
    }

    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// The names of the fields that it leads through, of a path without items of lists.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or something inside it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The same below a field of something larger.
    pub fn below(&self, field: &str) -> Self {
        let first = Step::Key(field.to_owned());
        Self(std::iter::once(first).chain(self.0.iter().cloned()).collect())
    }

    /// What is left of this path inside of `other`.
    pub fn inside(&self, other: &Self) -> Option<Self> {
        self.0.strip_prefix(other.0.as_slice()).map(|rest| Self(rest.to_vec()))
    }

    /// This path, and from there along `rest`.
    pub fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }

    /// Takes what is here out of a value, with the item of a list that it is a field of; whether it was there.
    pub fn take_out(&self, value: &mut Value) -> bool {
        let [first, rest @ ..] = self.0.as_slice() else { return false };
        let is_last = rest.is_empty();
        match first {
            Step::Key(key) if is_last => value.as_object_mut().is_some_and(|fields| fields.remove(key).is_some()),
            Step::Key(key) => value.get_mut(key).is_some_and(|value| Self(rest.to_vec()).take_out(value)),
            Step::Index(index) => match value.as_array_mut() {
                Some(items) if *index < items.len() && rest.len() <= 1 => {
                    items.remove(*index);
                    true
                }
                Some(items) => items.get_mut(*index).is_some_and(|value| Self(rest.to_vec()).take_out(value)),
                None => false,
            },
        }
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

/// Keys that are not plain words are quoted: `hosts[0].labels["example.com/disk"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_word(key) && position == 0 => f.write_str(key)?,
                Step::Key(key) if is_word(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_gone_with_the_item_that_it_is_a_field_of() {
        let value = serde_json::json!({"a": {"b": [{"name": "x"}, {"name": "y"}]}, "c": 1});
        let (list, mut without) = (Path::of("a.b"), value.clone());
        assert!(list.index(0).key("name").take_out(&mut without) && Path::of("c").take_out(&mut without));
        assert_eq!(without, serde_json::json!({"a": {"b": [{"name": "y"}]}}));
        for path in [Path::root(), Path::of("c.d"), Path::of("x"), list.index(7), list.key("b")] {
            assert!(!path.take_out(&mut value.clone()), "{path}");
        }
    }

    #[test]
    fn reads_as_people_write_it() {
        let host = Path::of("hosts").index(2);
        assert_eq!(host.key("address").to_string(), "hosts[2].address");
        assert_eq!(host.key("labels").key("example.com/disk").to_string(), r#"hosts[2].labels["example.com/disk"]"#);
        assert_eq!(Path::of("network.podSubnet").to_string(), "network.podSubnet");
        assert_eq!(Path::root().to_string(), "");
        assert!(host.key("address").is_within(&host) && host.is_within(&Path::root()));
        assert!(!host.is_within(&Path::of("hosts").index(1)));
    }
}
