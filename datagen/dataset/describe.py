"""The tables and their columns as Markdown: ``python -m datagen.dataset.describe``.

`docs/data-contract.md` holds this text, and a test holds it to the schemas.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from datagen.dataset.schemas import ERRORS_SCHEMA, SCHEMA_VERSION, SCHEMAS


def describe() -> str:
    """One Markdown table a table: column, type, whether it may be null, and what it says."""
    parts = [f"Schema version {SCHEMA_VERSION}."]
    parts += [_table(f"`{table}/`", schema) for table, schema in SCHEMAS.items()]
    parts.append(_table("`_errors/<stage>/`", ERRORS_SCHEMA))
    return "\n\n".join(parts) + "\n"


def _table(title: str, schema: pa.Schema) -> str:
    lines = [f"### {title}", "", "| column | type | says |", "| --- | --- | --- |"]
    lines += [f"| {name} | {type_} | {said} |" for name, type_, said in _columns(schema)]
    return "\n".join(lines)


def _columns(fields: pa.Schema | pa.StructType, prefix: str = "") -> Iterator[tuple[str, ...]]:
    for field in fields:
        said = (field.metadata or {}).get(b"description", b"").decode()
        type_ = _type(field.type) + (", may be null" if field.nullable and said else "")
        yield f"`{prefix}{field.name}`", type_, said
        inner = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(inner):
            yield from _columns(inner, f"{prefix}{field.name}[].")


def _type(type_: pa.DataType) -> str:
    if pa.types.is_fixed_size_list(type_):
        return f"list of {type_.list_size} {_type(type_.value_type)}"
    if pa.types.is_list(type_):
        return f"list of {_type(type_.value_type)}"
    return "struct" if pa.types.is_struct(type_) else str(type_)


if __name__ == "__main__":
    print(describe(), end="")
