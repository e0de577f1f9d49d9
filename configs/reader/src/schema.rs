//! JSON Schemas of the files, made from the types that read them: editors complete and check by them.

use std::borrow::Cow;
use std::path::Path;
use std::{fs, io};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Stands for an IP prefix, or an address with its prefix length, in a schema.
#[derive(Debug)]
pub struct Prefix;

impl JsonSchema for Prefix {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" })
    }
}

/// Stands for a word that may also be a number, which YAML needs no quotes for, in a schema.
#[derive(Debug)]
pub struct Word;

impl JsonSchema for Word {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// The schema of what `T` reads, as the text of a file (draft 7, which editors know best).
fn schema<T: JsonSchema>(title: &str) -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    format!("{:#}\n", schema.as_value())
}

/// Compares the schema of what `T` reads with the one in the file at `path`, for the tests of who has
/// such types. Where `HEARTH_WRITE_SCHEMAS` is set the file is written instead (`make schemas`).
///
/// # Errors
/// They differ, or the file can't be read or written.
pub fn same_schema<T: JsonSchema>(title: &str, path: &Path) -> io::Result<()> {
    let fresh = schema::<T>(title);
    if std::env::var_os("HEARTH_WRITE_SCHEMAS").is_some() {
        return fs::write(path, fresh);
    }
    if fs::read_to_string(path)? == fresh {
        return Ok(());
    }
    let path = path.display();
    Err(io::Error::other(format!("{path} is not what the types say: make schemas")))
}
