"""The master copy as a Parquet file, which says what `edits.jsonl` and `edits.csv` say.

What holds more than one value is canonical JSON. The bytes are the same for the same rows and the same release of
pyarrow, whose name stands in the file.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Union, get_args, get_origin

from errata.ledger.audit.alone.tables import flat
from errata.ledger.audit.edit_row import EditRow
from errata.ledger.base.errors import UsageError

TABLE = "edits.parquet"
COLUMNS = tuple(EditRow.model_fields)


def require_pyarrow() -> None:
    """See that Parquet can be written.

    Raises:
        UsageError: it cannot, and what to install.
    """
    if find_spec("pyarrow") is None:
        raise UsageError("the Parquet file needs an extra: pip install 'errata-lm[audit]'; a bundle without it: --core")


def edits_parquet(rows: Sequence[EditRow]) -> bytes:
    """The rows as a Parquet file.

    Raises:
        UsageError: pyarrow is not installed.
    """
    require_pyarrow()
    import pyarrow
    from pyarrow import parquet

    types_of = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, types_of.get(_type_of(name), pyarrow.string())) for name in COLUMNS])
    plain = [{name: flat(value) for name, value in row.plain().items()} for row in rows]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(plain, schema=schema), sink, store_schema=False)
    return bytes(sink.getvalue().to_pybytes())


def _type_of(column: str) -> Any:
    """The type of a column's values where it has one; None beside it does not count."""
    annotation = EditRow.model_fields[column].annotation
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (one for one in get_args(annotation) if one is not types.NoneType)
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
