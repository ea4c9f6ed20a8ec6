//! A published description of an API, as far as it is used here: of each body every field, whether it is required, its
//! type and its bounds. For every monitor with such an API.

use serde_json::{Map, Value};

/// When a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the machine is started.
    PreBoot,
    /// While there is one.
    PostBoot,
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Boolean,
    Integer(u64, u64),
    One(&'static [&'static str]),
    Object(&'static [Field]),
    /// Something that nothing here sends.
    Unused,
}

/// A field of a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub required: bool,
    pub kind: Kind,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub when: When,
    pub fields: &'static [Field],
}

pub const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

pub const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

impl Endpoint {
    /// What is wrong with a body.
    pub fn check(&self, body: &Value) -> Result<(), String> {
        check_fields(self.fields, body.as_object().ok_or("invalid type: expected a map")?)
    }
}

fn check_fields(known: &[Field], body: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in body {
        let field = known.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| format!("unknown field `{name}`"))?;
        check_value(field.kind, value).map_err(|why| format!("{name}: {why}"))?;
    }
    match known.iter().find(|field| field.required && !body.contains_key(field.name)) {
        Some(missing) => Err(format!("missing field `{}`", missing.name)),
        None => Ok(()),
    }
}

fn check_value(kind: Kind, value: &Value) -> Result<(), String> {
    match kind {
        Kind::Text if value.is_string() => Ok(()),
        Kind::Boolean if value.is_boolean() => Ok(()),
        Kind::Integer(least, most) => match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            Some(number) => Err(format!("invalid value: {number} is not from {least} to {most}")),
            None => Err(format!("invalid type: {value}, expected an integer")),
        },
        Kind::One(of) => match value.as_str() {
            Some(text) if of.contains(&text) => Ok(()),
            Some(text) => Err(format!("unknown variant `{text}`, expected one of {of:?}")),
            None => Err(format!("invalid type: {value}, expected a string")),
        },
        Kind::Object(known) => check_fields(known, value.as_object().ok_or("invalid type: expected a map")?),
        Kind::Unused => Err("nothing here is to send it".into()),
        Kind::Text | Kind::Boolean => Err(format!("invalid type: {value}")),
    }
}
