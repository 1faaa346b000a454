//! A hint in JSON: its words as `hint`, which people read, and its code and arguments as `hintCode` and `hintArgs`. Only these two are
//! read again, for the words may be anybody's. A hint whose code is not known here, or whose arguments don't pass, is none.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::Hint;

const CODE: &str = "hintCode";
const ARGUMENTS: &str = "hintArgs";

#[derive(Serialize)]
struct Shown<'a> {
    hint: Option<String>,
    #[serde(flatten)]
    coded: Option<&'a Hint>,
}

impl<'a> Shown<'a> {
    fn of(hint: Option<&'a Hint>) -> Self {
        Self { hint: hint.map(Hint::to_string), coded: hint.and_then(Hint::coded) }
    }
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "hintCode", default)]
    code: Option<Value>,
    #[serde(rename = "hintArgs", default)]
    arguments: Option<Value>,
}

/// Leaves out a hint that there isn't.
pub fn serialize<S: Serializer>(hint: &Option<Hint>, serializer: S) -> Result<S::Ok, S::Error> {
    hint.as_ref().map(|hint| Shown::of(Some(hint))).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Hint>, D::Error> {
    let Told { code, arguments } = Told::deserialize(deserializer)?;
    let fields = [(CODE, code), (ARGUMENTS, arguments)];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(serde_json::from_value(Value::Object(given.collect::<Map<_, _>>())).ok())
}

/// For a field that is null where there is no hint.
pub mod nullable {
    use super::{Deserializer, Hint, Serialize as _, Serializer, Shown};

    pub fn serialize<S: Serializer>(hint: &Option<Hint>, serializer: S) -> Result<S::Ok, S::Error> {
        Shown::of(hint.as_ref()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Hint>, D::Error> {
        super::deserialize(deserializer)
    }
}
