//! JSON Schemas (draft 2020-12) of the two files, derived from the very types that write them.
//!
//! They allow what the reader reads, older files included: keys that a file may lack are optional, no other
//! key is allowed. The committed copies are `docs/schema/run.schema.json` and `docs/schema/sample.schema.json`.

use crate::record::Record;
use crate::run::{RunFile, SCHEMA_VERSION};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};

/// The schema of `run.json`.
pub fn run() -> Schema {
    of::<RunFile>("isobench run.json")
}

/// The schema of one line of `samples.jsonl`.
pub fn sample() -> Schema {
    of::<Record>("isobench sample line")
}

fn of<T: JsonSchema>(title: &str) -> Schema {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with_transform(RecursiveTransform(plain_words));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), format!("{title}, schema version {SCHEMA_VERSION}").into());
    schema
}

/// Descriptions are the types' own comments: what links to another item in them is only a name here.
fn plain_words(schema: &mut Schema) {
    if let Some(text) = schema.get("description").and_then(|text| text.as_str()) {
        let plain = text.replace("[`", "`").replace("`]", "`");
        schema.insert("description".into(), plain.into());
    }
}
