"""SQL views over a dataset, by DuckDB: ``python -m datagen.report.views ROOT "SELECT …"``.

A view reads the Parquet files anew at each query, so it is as large as the dataset and costs
no memory for it. ``shard``, in every view, is the number in the file's name; a filter on it
opens only those files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import duckdb
import fsspec
import pyarrow as pa
import tyro

from datagen.dataset import SCHEMAS, DatasetError, Table
from datagen.dataset.schemas import ERRORS_SCHEMA

VIEWS = (
    *(str(table) for table in Table),
    "errors",
    "shards",
    "negative_items",
    "pairs",
    "lineage",
    "error_reasons",
)
_SHARDS_SCHEMA = pa.schema(
    [
        ("table_name", pa.string()),
        ("shard", pa.int32()),
        ("rows", pa.int64()),
        ("rows_in", pa.int64()),
        ("dead_letters", pa.int64()),
        ("stage", pa.string()),
        ("fingerprint", pa.string()),
        ("code_version", pa.string()),
        ("settings", pa.string()),
        ("schema_version", pa.int32()),
    ]
)
_SHARD = r"regexp_extract({column}, 'part-(\d+)\.parquet$', 1)::INTEGER AS shard"


def open_views(root: str | Path, memory_limit: str = "2GB") -> duckdb.DuckDBPyConnection:
    """A connection with the views of a dataset; a table not there yet is an empty view.

    Views: `images`, `captions` (with `grounded` and `grounded_long`), `regions`, `grounding`,
    `negatives` (one row a region), `negative_items` (one row a negative), `pairs` (regions with
    captions and negatives), `errors` (dead letters), `shards` (one row a file), `lineage` (one row
    a table and configuration), `error_reasons`.

    Args:
        root: the dataset, a local path or a URL that fsspec opens.
        memory_limit: what DuckDB may use before it spills to disk.

    Raises:
        DatasetError: no file system is known for the URL, or it does not open.
    """
    connection = duckdb.connect(config={"memory_limit": memory_limit})
    folder = _folder(connection, str(root))
    for table in Table:
        # The view `captions`, in views.sql, joins what grounding says of them.
        name = "caption_rows" if table is Table.CAPTIONS else str(table)
        _table_view(connection, name, f"{folder}/{table}/part-*.parquet", SCHEMAS[table])
    _table_view(connection, "errors", f"{folder}/_errors/*/part-*.parquet", ERRORS_SCHEMA)
    _shards_view(connection, folder)
    connection.execute((Path(__file__).parent / "views.sql").read_text(encoding="utf-8"))
    return connection


def tables_present(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    """The tables that have at least one shard, in the order of the flow."""
    found = {
        name for (name,) in connection.sql("SELECT DISTINCT table_name FROM shards").fetchall()
    }
    return [table for table in Table if str(table) in found]


def _folder(connection: duckdb.DuckDBPyConnection, root: str) -> str:
    """The dataset's folder as DuckDB shall see it, escaped for use in a quoted glob."""
    root = root.removeprefix("file://")
    if "://" in root:
        try:
            filesystem, path = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as error:
            raise DatasetError(f"Cannot open {root}: {error}") from None
        connection.register_filesystem(filesystem)
        path = f"{root.partition('://')[0]}://{path.lstrip('/')}"
    else:
        path = str(Path(root).absolute())
    return "".join(f"[{c}]" if c in "*?[" else c for c in path).replace("'", "''").rstrip("/")


def _exists(connection: duckdb.DuckDBPyConnection, pattern: str) -> bool:
    return bool(connection.sql(f"SELECT 1 FROM glob('{pattern}') LIMIT 1").fetchall())  # noqa: S608


def _table_view(
    connection: duckdb.DuckDBPyConnection, name: str, pattern: str, schema: pa.Schema
) -> None:
    if not _exists(connection, pattern):
        _empty_view(connection, name, schema.append(pa.field("shard", pa.int32())))
        return
    there = connection.sql(f"DESCRIBE FROM read_parquet('{pattern}')").fetchall()
    names = {column[0] for column in there}
    # Older files lack the newer columns.
    nulls = "".join(
        f", {null}" for column, null in _nulls(connection, schema) if column not in names
    )
    shard = _SHARD.format(column="filename")
    connection.execute(
        f"CREATE VIEW {name} AS SELECT * EXCLUDE (filename){nulls}, {shard} "  # noqa: S608
        f"FROM read_parquet('{pattern}', filename = true)"
    )


def _shards_view(connection: duckdb.DuckDBPyConnection, folder: str) -> None:
    """What each file says of itself in its metadata, with the number of its rows."""
    parts = []
    for table in Table:
        pattern = f"{folder}/{table}/part-*.parquet"
        if not _exists(connection, pattern):
            continue
        about = "decode(value)::JSON"
        parts.append(
            f"""
            SELECT '{table}' AS table_name, {_SHARD.format(column="file_name")},
                num_rows AS "rows", ({about}->>'$.rows_in')::BIGINT AS rows_in,
                ({about}->>'$.dead_letters')::BIGINT AS dead_letters,
                {about}->>'$.lineage.stage' AS stage,
                {about}->>'$.lineage.fingerprint' AS fingerprint,
                {about}->>'$.lineage.code_version' AS code_version,
                ({about}->'$.lineage.settings')::VARCHAR AS settings,
                ({about}->>'$.schema_version')::INTEGER AS schema_version
            FROM parquet_file_metadata('{pattern}') AS files
            LEFT JOIN (
                SELECT file_name, value FROM parquet_kv_metadata('{pattern}')
                WHERE key = 'datagen'::BLOB
            ) USING (file_name)
            """  # noqa: S608
        )
    if parts:
        connection.execute("CREATE VIEW shards AS " + " UNION ALL ".join(parts))
    else:
        _empty_view(connection, "shards", _SHARDS_SCHEMA)


def _empty_view(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    nulls = ", ".join(null for _, null in _nulls(connection, schema))
    connection.execute(f"CREATE VIEW {name} AS SELECT {nulls} WHERE false")


def _nulls(connection: duckdb.DuckDBPyConnection, schema: pa.Schema) -> list[tuple[str, str]]:
    """Each column's name, and the SQL of a null of its type under that name."""
    connection.register("_schema", schema.empty_table())
    columns = connection.sql("DESCRIBE _schema").fetchall()
    connection.unregister("_schema")
    # Parquet knows no lists of fixed size, so neither does the view that will come here.
    return [
        (column[0], f'NULL::{column[1].replace("[4]", "[]")} AS "{column[0]}"')
        for column in columns
    ]


def _overview(connection: duckdb.DuckDBPyConnection) -> str:
    lines = []
    for view in VIEWS:
        columns = [row[0] for row in connection.sql(f"DESCRIBE {view}").fetchall()]
        count = connection.sql(f"SELECT count(*) FROM {view}").fetchall()[0][0]  # noqa: S608
        lines.append(f"{view} ({count} rows): {', '.join(columns)}")
    return "\n".join(lines)


def main(
    root: Annotated[str, tyro.conf.arg(help="the dataset: a folder or a URL")],
    query: Annotated[str, tyro.conf.arg(help="SQL; without it, the views are listed")] = "",
    /,
) -> int:
    """Ask a dataset something in SQL (DuckDB)."""
    try:
        connection = open_views(root)
        if not tables_present(connection):
            raise DatasetError(
                f"There is no dataset in {root}: none of {', '.join(Table)} holds a shard. "
                "Name the folder that the pipelines wrote to."
            )
        if not query:
            print(_overview(connection))
            return 0
        result = connection.sql(query)
        if result is not None:
            result.show(max_width=160, max_rows=100)
    except (DatasetError, duckdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
