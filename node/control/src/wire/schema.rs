//! The JSON Schema of every line, and the AsyncAPI document. Both are generated from the types of this
//! module and from the comments on them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::admission::{Admitted, TokenLine};
use super::answer::{Answer, Done};
use super::event::WireEvent;
use super::request::{AnyRequest, RequestSchema};
use hobnob_local::json::LINES_VERSION;

/// A request, an event or an answer in the schema: its key in `$defs`.
struct Line {
    /// The key.
    key: String,
    /// The `cmd` or `event`.
    word: String,
}

/// All definitions, and which of them are lines.
struct Lines {
    definitions: Map<String, Value>,
    requests: Vec<Line>,
    answers: Vec<String>,
    events: Vec<Line>,
}

/// The JSON Schema (draft 2020-12) of every line. `$defs` has a definition for each request, answer
/// and event. The keyword `x-answer` of a request refers to its answer.
///
/// ```
/// let schema = hobnob_control::wire::json_schema();
/// let send = &schema["$defs"]["SendMessage"];
/// assert_eq!(send["properties"]["cmd"]["const"], "send");
/// assert_eq!(send["x-answer"]["$ref"], "#/$defs/SentLineAnswer");
/// ```
pub fn json_schema() -> Value {
    let mut lines = Lines::of_the_types();
    let any = |keys: &[String]| json!(keys.iter().map(|key| of(key)).collect::<Vec<_>>());
    let requests: Vec<_> = lines.requests.iter().map(|line| line.key.clone()).collect();
    let events: Vec<_> = lines.events.iter().map(|line| line.key.clone()).collect();
    for (key, description, choice) in [
        (
            "Request",
            "A line that a program writes.",
            json!({"oneOf": any(&requests)}),
        ),
        (
            "Answer",
            "A line that answers the request with the same id.",
            json!({"anyOf": any(&lines.answers)}),
        ),
        (
            "Event",
            "A line that reports what happened. Later versions of hobnob have more kinds.",
            json!({"oneOf": any(&events)}),
        ),
    ] {
        let mut definition = choice;
        definition["description"] = description.into();
        let before = lines.definitions.insert(key.to_owned(), definition);
        assert!(before.is_none(), "no type of a line is called {key}");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lines of hobnob",
        "description": "Each line of the JSON protocol, version 1. `hobnob help protocol` explains them. \
            Readers ignore fields and events that they do not know.",
        "anyOf": [of("Request"), of("Answer"), of("Event"), of("TokenLine")],
        "$defs": lines.definitions,
    })
}

/// The AsyncAPI document (version 3.0.0) of the lines: the pipe, the socket and the WebSocket with
/// the operations of a node.
///
/// ```
/// let document = hobnob_control::wire::asyncapi();
/// assert_eq!(document["asyncapi"], "3.0.0");
/// assert_eq!(document["operations"]["send"]["action"], "receive");
/// ```
pub fn asyncapi() -> Value {
    let Lines {
        definitions,
        requests,
        answers,
        events,
    } = Lines::of_the_types();
    let (mut messages, mut operations) = (Map::new(), Map::new());
    let mut add_message = |key: &str, title: &str| {
        let summary = definitions[key]["description"].clone();
        let message = json!({
            "name": key,
            "title": title,
            "summary": summary,
            "contentType": "application/json",
            "payload": {"$ref": format!("#/components/schemas/{key}")},
        });
        messages.insert(key.to_owned(), message);
    };
    let channel = || json!({"$ref": "#/channels/lines"});
    let on_channel = |key: &str| json!({"$ref": format!("#/channels/lines/messages/{key}")});
    for line in &requests {
        add_message(&line.key, &line.word);
        let answer = definitions[&line.key]["x-answer"]["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next())
            .expect("each request refers to its answer");
        let operation = json!({
            "action": "receive",
            "channel": channel(),
            "summary": definitions[&line.key]["description"],
            "messages": [on_channel(&line.key)],
            "reply": {"channel": channel(), "messages": [on_channel(answer)]},
        });
        operations.insert(line.word.clone(), operation);
    }
    for key in &answers {
        add_message(key, key);
    }
    for line in &events {
        add_message(&line.key, &line.word);
    }
    add_message("TokenLine", "token");
    let token = json!({
        "action": "receive",
        "channel": channel(),
        "summary": "Over a WebSocket: the first line of a program.",
        "messages": [on_channel("TokenLine")],
        "reply": {"channel": channel(), "messages": [on_channel("AdmittedAnswer")]},
    });
    operations.insert("token".to_owned(), token);
    let reported: Vec<_> = events.iter().map(|line| on_channel(&line.key)).collect();
    let event = json!({
        "action": "send",
        "channel": channel(),
        "summary": "Reports what happened. On the socket and the WebSocket: after `subscribe`.",
        "messages": reported,
    });
    operations.insert("events".to_owned(), event);
    let on_the_channel: Map<_, _> = messages
        .keys()
        .map(|key| {
            let message = json!({"$ref": format!("#/components/messages/{key}")});
            (key.clone(), message)
        })
        .collect();
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "hobnob for programs: JSON lines",
            "version": LINES_VERSION.to_string(),
            "description": "The lines that a program and a hobnob node exchange. Each line is one \
                JSON object. The node receives requests; it sends answers and events.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": {
                "host": "127.0.0.1:4680",
                "pathname": "/ws",
                "protocol": "ws",
                "description": "`hobnob up --web 127.0.0.1:4680`. The first line is a token.",
            },
        },
        "channels": {
            "lines": {
                "address": null,
                "description": "The standard input and output of `hobnob up --json`, the local \
                    socket of a node, or its WebSocket: the same lines on each.",
                "messages": on_the_channel,
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": definitions},
    });
    // Definitions are elsewhere than in a JSON Schema.
    edit(&mut document, "$ref", &|path| {
        path.replace("#/$defs/", "#/components/schemas/")
    });
    document
}

impl Lines {
    fn of_the_types() -> Lines {
        let settings =
            || SchemaSettings::draft2020_12().with(|settings| settings.meta_schema = None);
        // A request may leave out what has a default. A node leaves out what the type says.
        let mut read = settings().for_deserialize().into_generator();
        let mut written = settings().for_serialize().into_generator();
        let mut lines = Lines {
            definitions: Map::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            events: Vec::new(),
        };
        for schema in AnyRequest::schemas(&mut read, &mut written) {
            lines.add_request(schema);
        }
        for refusal in [
            written.subschema_for::<Answer<Done>>(),
            written.subschema_for::<Answer<Admitted>>(),
        ] {
            lines.add_answer(&refusal.to_value());
        }
        lines.add_events(WireEvent::json_schema(&mut written).to_value());
        read.subschema_for::<TokenLine>();
        lines.add_definitions(read);
        lines.add_definitions(written);
        for definition in lines.definitions.values_mut() {
            edit(definition, "description", &described);
        }
        lines
    }

    fn add(&mut self, key: String, definition: Value) {
        if let Some(other) = self.definitions.get(&key) {
            assert_eq!(
                *other, definition,
                "a type that is both read and written has one form: {key}"
            );
        }
        self.definitions.insert(key, definition);
    }

    fn add_request(&mut self, schema: RequestSchema) {
        let mut definition = schema.request.to_value();
        let answer = schema.answer.to_value();
        self.add_answer(&answer);
        definition["description"] = schema.description.into();
        definition["x-answer"] = answer;
        let properties = &mut definition["properties"];
        properties["id"] = json!({
            "description": "Chosen by the program. The answer repeats it.",
            "type": "integer",
            "format": "uint64",
            "minimum": 0,
            "maximum": u64::MAX,
        });
        properties["cmd"] = json!({"const": schema.name, "type": "string"});
        require(&mut definition, &["id", "cmd"]);
        self.requests.push(Line {
            key: schema.title.to_owned(),
            word: schema.name.to_owned(),
        });
        self.add(schema.title.to_owned(), definition);
    }

    fn add_answer(&mut self, reference: &Value) {
        let key = reference["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix("#/$defs/"))
            .expect("answers are definitions")
            .to_owned();
        if !self.answers.contains(&key) {
            self.answers.push(key);
        }
    }

    fn add_events(&mut self, mut events: Value) {
        let variants = events["oneOf"]
            .as_array_mut()
            .expect("an enum with a tag is a choice");
        for mut definition in variants.drain(..) {
            let word = definition["properties"]["event"]["const"]
                .as_str()
                .expect("each variant has its word")
                .to_owned();
            definition["properties"]["v"] = json!({"const": LINES_VERSION, "type": "integer"});
            require(&mut definition, &["v"]);
            let key = format!("{}{}Event", word[..1].to_ascii_uppercase(), &word[1..]);
            self.events.push(Line {
                key: key.clone(),
                word,
            });
            self.add(key, definition);
        }
    }

    fn add_definitions(&mut self, mut generator: SchemaGenerator) {
        for (key, definition) in generator.take_definitions(true) {
            self.add(key, definition);
        }
    }
}

/// The reference to a definition.
fn of(key: &str) -> Value {
    json!({"$ref": format!("#/$defs/{key}")})
}

/// Adds names to the keyword `required`, before the others.
fn require(definition: &mut Value, names: &[&str]) {
    let mut required: Vec<Value> = names.iter().map(|name| json!(name)).collect();
    if let Some(others) = definition["required"].as_array() {
        required.extend(others.iter().cloned());
    }
    definition["required"] = required.into();
}

/// Changes each text that is the value of the keyword.
fn edit(schema: &mut Value, keyword: &str, change: &dyn Fn(&str) -> String) {
    match schema {
        Value::Object(keywords) => {
            for (name, value) in keywords.iter_mut() {
                edit(value, keyword, change);
                if name == keyword
                    && let Value::String(text) = value
                {
                    *text = change(text);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                edit(item, keyword, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The description that a comment becomes. Comments are for readers of the code: this keeps the first
/// paragraph, and removes the markup of references.
fn described(comment: &str) -> String {
    let first = comment.split("\n\n").next().unwrap_or_default();
    let mut text = first.replace('\n', " ");
    // "A peer: see [`PeerInfo`]. The line rounds …" is about the code.
    for about_code in [": see [", ", see [", ". See ["] {
        if let Some(end) = text.find(about_code) {
            text.truncate(end);
            text.push('.');
        }
    }
    text = text.replace(" This type is also the JSON form.", "");
    // "[`LIMIT`](super::LIMIT)" is a link of rustdoc.
    while let Some(start) = text.find("`](") {
        let end = text[start..]
            .find(')')
            .map_or(text.len(), |end| start + end + 1);
        text.replace_range(start + 1..end, "");
    }
    text.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::described;

    #[test]
    fn comments_become_descriptions_without_what_is_about_the_code() {
        for (comment, description) in [
            ("One line\nand another.\n\nMore.", "One line and another."),
            ("A peer: see [`PeerInfo`]. The line rounds.", "A peer."),
            (
                "At most [`MAX`](super::MAX) of [`Item`].",
                "At most `MAX` of `Item`.",
            ),
            ("A room. This type is also the JSON form.", "A room."),
        ] {
            assert_eq!(described(comment), description);
        }
    }
}
