//! The JSON Schema of all messages, for agents that are written in other languages.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{AgentMessage, CloudMessage};

/// Returns a JSON Schema (2020-12) with one definition for each direction: `fromAgent` and
/// `toAgent`.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let from_agent = AgentMessage::json_schema(&mut generator).to_value();
    let to_agent = CloudMessage::json_schema(&mut generator).to_value();
    let mut definitions = Value::Object(generator.take_definitions(true));
    definitions["fromAgent"] = envelope_schema(&from_agent);
    definitions["toAgent"] = envelope_schema(&to_agent);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bematic agent protocol",
        "description": "One JSON object a message. Types are written canonically (TASK_ACK); \
                        the spelling task:ack is accepted everywhere. Unknown fields are ignored.",
        "oneOf": [{ "$ref": "#/$defs/fromAgent" }, { "$ref": "#/$defs/toAgent" }],
        "$defs": definitions,
    })
}

fn envelope_schema(message: &Value) -> Value {
    json!({
        "allOf": [
            message,
            {
                "type": "object",
                "required": ["id", "type", "payload", "timestamp"],
                "properties": {
                    "id": { "type": "string", "minLength": 1, "maxLength": 128 },
                    "timestamp": { "type": "number", "minimum": 0 },
                },
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol.schema.json");
        let current = format!("{:#}\n", super::schema());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == current,
            "stale: run `BLESS=1 cargo test -p bematic-protocol schema`"
        );
    }
}
