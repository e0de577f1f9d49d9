//! A value and its place in the file.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_saphyr::Location;

/// A value of a YAML file, and the line that it stands in. To JSON Schema it is the value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is used: of an alias, its own place.
    pub referenced: Location,
    /// Where it is written: of an alias, the anchor's place.
    pub defined: Location,
}

impl<T> Spanned<T> {
    /// A value with its place; [`Location::UNKNOWN`] for what no file says.
    #[must_use]
    pub const fn new(value: T, referenced: Location, defined: Location) -> Self {
        Self { value, referenced, defined }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = serde_saphyr::Spanned::deserialize(deserializer)?;
        Ok(Self { value: read.value, referenced: read.referenced, defined: read.defined })
    }
}

/// The value alone: two readings differ by what they say, not by where.
impl<T: Serialize> Serialize for Spanned<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
