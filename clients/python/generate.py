#!/usr/bin/env python3
"""Writes src/hobnob/lines.py, the dataclasses of requests, answers and events, from the JSON Schema.

    clients/python/generate.py            writes the file
    clients/python/generate.py --check    fails if the file differs

The schema is node/control/schema.json, as `hobnob help protocol --schema` prints it.
"""
from __future__ import annotations

import json
import keyword
import sys
import textwrap
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCHEMA = HERE.parent.parent / "node/control/schema.json"
OUTPUT = HERE / "src/hobnob/lines.py"

Schema = dict[str, Any]

# Values that Python has a type for. `hobnob.values` defines and converts them.
SPECIAL = {"Bytes", "Time", "LocalPath"}
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


class Generator:
    def __init__(self, schema: Schema):
        self.defs: dict[str, Schema] = schema["$defs"]
        self.aliases: dict[str, str] = {}
        self.classes: dict[str, str] = {}

    def target(self, schema: Schema) -> str:
        return schema["$ref"].removeprefix("#/$defs/")

    def type_of(self, schema: Schema) -> set[str]:
        """The alternatives of a type, as Python."""
        if "$ref" in schema:
            return {self.named(self.target(schema))}
        if "const" in schema:
            return {f"Literal[{json.dumps(schema['const'])}]"}
        if "enum" in schema:
            return {f"Literal[{', '.join(map(json.dumps, schema['enum']))}]"}
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return set().union(*map(self.type_of, schema[choice]))
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if "array" in kinds:
            kinds = [kind for kind in kinds if kind != "array"]
            found = {f"list[{self.annotation(self.type_of(schema['items']))}]"}
        else:
            found = set()
        return found | {SCALARS[kind] for kind in kinds}

    def annotation(self, types: set[str]) -> str:
        if "str" in types:  # newer words than the known ones are possible
            types = {name for name in types if not name.startswith("Literal[")}
        literals = sorted(name for name in types if name.startswith("Literal["))
        others = sorted(types - set(literals) - {"None"})
        words = ", ".join(name[len("Literal["):-1] for name in literals)
        found = others + ([f"Literal[{words}]"] if literals else [])
        return " | ".join(found + (["None"] if "None" in types else []))

    def named(self, name: str) -> str:
        """The Python name of a definition, which is generated if it is not yet."""
        if name in SPECIAL:
            return name
        schema = self.defs[name]
        if name not in self.aliases and name not in self.classes:
            variants = schema.get("oneOf", [])
            if variants and all("const" in variant for variant in variants):
                words = self.annotation(self.type_of(schema))
                self.aliases[name] = f"{name}: TypeAlias = {words}"
            elif schema.get("type") == "string":
                self.aliases[name] = f"{name}: TypeAlias = str"
            else:
                self.classes[name] = ""  # a class may contain itself
                self.classes[name] = self.data_class(name, schema, "")
        return name

    def fields_of(self, schema: Schema) -> tuple[dict[str, tuple[set[str], str]], list[str]]:
        """Types and descriptions of all properties, and the names of the required ones."""
        fields: dict[str, tuple[set[str], str]] = {}
        required = list(schema.get("required", []))

        def merge(others: dict[str, tuple[set[str], str]]) -> None:
            for name, (types, text) in others.items():
                known, before = fields.get(name, (set(), text))
                fields[name] = (known | types, before if before == text else "")

        for name, value in schema.get("properties", {}).items():
            merge({name: (self.type_of(value), value.get("description", ""))})
        if "$ref" in schema:
            others, more = self.fields_of(self.defs[self.target(schema)])
            merge(others)
            required += more
        for part in schema.get("allOf", []):
            others, more = self.fields_of(part)
            merge(others)
            required += more
        for choice in ("oneOf", "anyOf"):
            in_all: list[str] | None = None
            for variant in schema.get(choice, []):
                others, more = self.fields_of(variant)
                # Whether the field is there depends on the variant.
                merge({n: (t if n in more else t | {"None"}, text) for n, (t, text) in others.items()})
                in_all = more if in_all is None else [name for name in in_all if name in more]
            required += in_all or []
            for name in fields:
                if name not in required and choice in schema and name not in schema.get("properties", {}):
                    fields[name] = (fields[name][0] | {"None"}, fields[name][1])
        return fields, list(dict.fromkeys(required))

    def data_class(self, name: str, schema: Schema, base: str, leave_out: tuple[str, ...] = ()) -> str:
        lines = ["@dataclass(kw_only=True)", f"class {name}({base}):" if base else f"class {name}:"]
        lines += docstring(schema.get("description", name))
        fields, required = self.fields_of(schema)
        names = [field for field in required if field in fields]
        names += [field for field in fields if field not in required]
        for field in names:
            if field in leave_out:
                continue
            types, text = fields[field]
            annotation = self.annotation(types)
            if field in required:
                default = ""
            elif annotation == "bool":
                default = " = False"
            elif annotation.startswith("list[") and len(types) == 1:
                default = " = field(default_factory=list)"
            else:
                annotation, default = self.annotation(types | {"None"}), " = None"
            lines.append(f"    {python_name(field)}: {annotation}{default}")
            lines += docstring(text) if text else []
        return "\n".join(lines)

    def module(self) -> str:
        lines = {name: schema for name, schema in self.defs.items() if "x-answer" in schema}
        requests, events = [], []
        for name, schema in lines.items():
            answer_line = self.defs[self.target(schema["x-answer"])]
            answer = next(
                self.named(self.target(variant["properties"]["ok"]))
                for variant in answer_line["oneOf"]
                if "ok" in variant["properties"]
            )
            text = self.data_class(name, schema, f'Request["{answer}"]', ("id", "cmd"))
            word = json.dumps(schema["properties"]["cmd"]["const"])
            text += f"\n    CMD: ClassVar[str] = {word}\n    ANSWER: ClassVar[type] = {answer}"
            requests.append(text)
        kinds = [self.target(choice) for choice in self.defs["Event"]["oneOf"]]
        for name in kinds:
            schema = dict(self.defs[name])
            base = "Event"
            if "$ref" in schema:  # the event has the fields of a line that answers have, too
                base = f"{self.named(self.target(schema))}, Event"
                del schema["$ref"]
            text = self.data_class(name, schema, base, ("v", "event"))
            word = json.dumps(schema["properties"]["event"]["const"])
            text += f"\n    EVENT: ClassVar[str] = {word}"
            events.append(text)
        table = "\n".join(f"    {kind}.EVENT: {kind}," for kind in kinds)
        parts = [
            HEADER,
            "\n".join(self.aliases[name] for name in sorted(self.aliases)),
            *(self.classes[name] for name in sorted(self.classes)),
            *events,
            f"EVENTS: dict[str, type[Event]] = {{\n{table}\n}}",
            *requests,
        ]
        return "\n\n\n".join(parts) + "\n"


HEADER = '''"""Requests, answers and events. Generated by generate.py from the JSON Schema: do not edit."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from .values import Bytes, Event, LocalPath, Request, Time'''


def python_name(name: str) -> str:
    return name + "_" if keyword.iskeyword(name) else name


def docstring(text: str) -> list[str]:
    text = text.replace("\\", "\\\\")
    wrapped = textwrap.wrap(text, 92) or [""]
    if len(wrapped) == 1:
        return [f'    """{wrapped[0]}"""']
    return [f'    """{wrapped[0]}', *("    " + line for line in wrapped[1:-1]), f'    {wrapped[-1]}"""']


def main() -> int:
    module = Generator(json.loads(SCHEMA.read_text(encoding="utf-8"))).module()
    if sys.argv[1:] == ["--check"]:
        if OUTPUT.read_text(encoding="utf-8") != module:
            print(f"{OUTPUT} differs from the schema: run clients/python/generate.py", file=sys.stderr)
            return 1
        return 0
    OUTPUT.write_text(module, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
