//! The inventory's JSON Schema, made from the types: for editors, for people, and for the check of an inventory's shape.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::types::Cluster;

static SCHEMA: LazyLock<Value> = LazyLock::new(of::<Cluster>);

/// The schema of a type.
pub(crate) fn of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema as text, with a newline at its end.
pub fn schema() -> String {
    // Printing what was parsed from no text at all can't fail, and `{:#}` is serde_json's pretty form.
    format!("{:#}\n", *SCHEMA)
}

pub(super) fn value() -> &'static Value {
    &SCHEMA
}
