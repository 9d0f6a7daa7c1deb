//! Checks lines against the JSON Schema, with a validator that the schema's authors did not write.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The compiled schema.
pub(crate) struct Schema {
    schemas: Schemas,
    compiler: Compiler,
}

const URL: &str = "mem:///schema.json";

impl Schema {
    /// Prepares the schema that the code generates.
    pub(crate) fn new(document: Value) -> Schema {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler
            .add_resource(URL, document)
            .expect("the schema is one document");
        Schema {
            schemas: Schemas::new(),
            compiler,
        }
    }

    fn compiled(&mut self, definition: &str) -> SchemaIndex {
        let place = format!("{URL}#/$defs/{definition}");
        self.compiler
            .compile(&place, &mut self.schemas)
            .unwrap_or_else(|error| panic!("{definition}: {error:#}"))
    }

    /// Whether the value fits the definition, and if not, why.
    pub(crate) fn check(&mut self, definition: &str, value: &Value) -> Result<(), String> {
        let index = self.compiled(definition);
        self.schemas
            .validate(value, index)
            .map_err(|error| format!("{value} is no {definition}: {error:#}"))
    }

    /// Checks a line that must fit.
    pub(crate) fn accepts(&mut self, definition: &str, line: &str) {
        let value = serde_json::from_str(line).expect("a line is JSON");
        self.check(definition, &value)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
