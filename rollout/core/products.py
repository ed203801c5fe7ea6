"""Products that a picture is compared with: rows of a partner's own table, and which of them may be meant.

A table is a CSV file in UTF-8 with a header row; one column names the row. All that is wrong with a file is found at
once, by its lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import msgspec

from rollout.core.times import rfc3339
from rollout.errors import InvalidRequest

MAX_BYTES = 32 * 1024 * 1024
MAX_ROWS = 100_000
MAX_COLUMNS = 50
MAX_ID_CHARACTERS = 200
MAX_FIELD_CHARACTERS = 2_000
MAX_ROW_CHARACTERS = 4_000
MAX_FAULTS = 20
MAX_CANDIDATES = 50
MAX_CANDIDATE_BYTES = 32 * 1024
"""The JSON of the candidates together: what a request may grow by after its worst cost was reserved. Each row fits."""

MAX_TERMS = 40
_TABLE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Product:
    """A row: its id, and its other columns that are not empty."""

    id: str
    fields: Mapping[str, str]

    @property
    def search(self) -> str:
        """Its words, each between two spaces."""
        return f" {' '.join(words((self.id, *self.fields.values())))} "

    def shown(self) -> dict[str, str]:
        return {"id": self.id, **self.fields}


@dataclass(frozen=True)
class ProductTable:
    """A stored table. Its rows lie under `content_id`: another upload is another content. Times in UTC epoch seconds."""

    tenant_id: str
    id: str
    content_id: str
    columns: Sequence[str]
    rows: int
    bytes: int
    version: int
    created_at: int
    updated_at: int


def table_json(table: ProductTable) -> dict[str, Any]:
    return {
        "id": table.id,
        "tenant": table.tenant_id,
        "columns": list(table.columns),
        "rows": table.rows,
        "bytes": table.bytes,
        "version": table.version,
        "created_at": rfc3339(table.created_at),
        "updated_at": rfc3339(table.updated_at),
    }


def check_table_id(table_id: str) -> str:
    if not _TABLE_ID.fullmatch(table_id):
        raise InvalidRequest(
            "A table's id is 1-63 lower-case letters, digits, - and _, and begins with a letter or digit.",
            param="table_id",
        )
    return table_id


def words(texts: Iterable[str]) -> list[str]:
    """The words of texts in their order, each once: letters and digits, without case."""
    return list(dict.fromkeys(word for text in texts for word in _WORD.findall(text.casefold())))


def terms(texts: Iterable[str]) -> list[str]:
    """The words to look for: the first of them, but letters that stand alone."""
    return [word for word in words(texts) if len(word) > 1 or word.isdigit()][:MAX_TERMS]


def weights(counts: Mapping[str, int], rows: int) -> dict[str, int]:
    """What each word says of a row that has it, by how many of the rows do: the rarer, the more. Those that none has say
    nothing."""
    return {word: round(100 * log(1 + rows / count)) for word, count in counts.items() if count}


def within(products: Iterable[Product], most_bytes: int) -> list[Product]:
    """The first of them whose JSON, quoted as a text, has at most so many bytes together."""
    kept, left = [], most_bytes
    for product in products:
        left -= len(msgspec.json.encode(msgspec.json.encode(product.shown()).decode()))
        if left < 0:
            break
        kept.append(product)
    return kept


def read_products(rows: Sequence[Mapping[str, Any]], param: str) -> list[Product]:
    """Rows that came with a request; values are texts or numbers. Raises InvalidRequest that names the row."""
    if not 1 <= len(rows) <= MAX_CANDIDATES:
        raise InvalidRequest(
            f"`{param}` holds 1 to {MAX_CANDIDATES} rows, not {len(rows)}.",
            param=param,
            remedy="Upload more of them as a table: PUT /api/v1/product-tables/{id}.",
        )
    found: dict[str, Product] = {}
    for index, row in enumerate(rows):
        product = _product(row, f"{param}.{index}")
        if product.id in found:
            raise InvalidRequest(f"The id {product.id!r} is there twice.", param=f"{param}.{index}.id")
        found[product.id] = product
    products = list(found.values())
    if len(within(products, MAX_CANDIDATE_BYTES)) < len(products):
        raise InvalidRequest(
            f"`{param}` has more than {MAX_CANDIDATE_BYTES // 1024} KiB.",
            param=param,
            remedy="Send fewer or shorter rows, or upload them as a table.",
        )
    return products


def _product(row: Mapping[str, Any], path: str) -> Product:
    texts = {name: _text(value, f"{path}.{name[:100]}") for name, value in row.items() if value is not None}
    product_id = texts.pop("id", "")
    if not 1 <= len(product_id) <= MAX_ID_CHARACTERS:
        raise InvalidRequest(
            f"`{path}.id` is required, with 1 to {MAX_ID_CHARACTERS} characters.", param=f"{path}.id"
        )
    if len(texts) >= MAX_COLUMNS:
        raise InvalidRequest(f"`{path}` has more than {MAX_COLUMNS} members.", param=path)
    return Product(product_id, {name: text for name, text in texts.items() if text})


def _text(value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidRequest(f"`{path}` must be a text or a number.", param=path)
    if len(str(value)) > MAX_FIELD_CHARACTERS:
        raise InvalidRequest(f"`{path}` has more than {MAX_FIELD_CHARACTERS:,} characters.", param=path)
    return str(value).strip()


@dataclass(frozen=True)
class Sheet:
    """A CSV file that is right."""

    columns: tuple[str, ...]
    products: tuple[Product, ...]


@dataclass(frozen=True)
class _Fault:
    """`line` counts from 1, as editors do."""

    line: int
    message: str


def read_sheet(data: bytes, id_column: str) -> Sheet:
    """The table in a CSV file. Raises InvalidRequest whose `errors` name the first faults, each with its line."""
    lines = csv.reader((f"{line}\n" for line in _decoded(data).split("\n")), strict=True)
    columns, id_at = _header(lines, id_column)
    products: dict[str, Product] = {}
    faults: list[_Fault] = []
    for line, cells in _numbered(lines, faults):
        wrong = _wrong_with(cells, columns, id_at, products)
        if wrong is None:
            product = _of_cells(cells, columns, id_at)
            products[product.id] = product
        else:
            faults.append(_Fault(line, wrong))
        if len(products) > MAX_ROWS:
            faults.append(_Fault(line, f"there are more than {MAX_ROWS:,} rows"))
        if len(faults) >= MAX_FAULTS or len(products) > MAX_ROWS:
            break
    if faults:
        raise _refused(faults)
    if not products:
        raise _refused([_Fault(2, "there is no row below the header")])
    return Sheet(columns, tuple(products.values()))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused([_Fault(line, "this is not UTF-8")], "Save the file as CSV in UTF-8.") from None


def _header(lines: Any, id_column: str) -> tuple[tuple[str, ...], int]:
    """The columns, and which of them is the id."""
    try:
        columns = tuple(name.strip() for name in next(lines, ()))
    except csv.Error as error:
        raise _refused([_Fault(1, f"{error}")]) from None
    if not any(columns):
        raise _refused([_Fault(1, "the header row is missing")])
    if id_column not in columns:
        separated = len(columns) == 1 and any(mark in columns[0] for mark in ";\t|")
        raise _refused(
            [_Fault(1, f"there is no column {id_column[:100]!r} among {', '.join(columns)[:200]}")],
            "Separate the columns by commas." if separated else "Name the column of ids by ?id_column=.",
        )
    if len(columns) > MAX_COLUMNS:
        raise _refused([_Fault(1, f"there are {len(columns)} columns; at most {MAX_COLUMNS}")])
    if id_column != "id" and "id" in columns:
        raise _refused(
            [_Fault(1, f"a column 'id' beside the ids in {id_column!r} has to be called otherwise")]
        )
    for name in columns:
        if not 1 <= len(name) <= 100 or columns.count(name) > 1:
            raise _refused(
                [_Fault(1, f"each column has a name of its own, at most 100 characters: {name[:100]!r}")]
            )
    return columns, columns.index(id_column)


def _numbered(lines: Any, faults: list[_Fault]) -> Iterator[tuple[int, Sequence[str]]]:
    """Each row that is not empty with the line at which it begins; where no row can be read, a fault is the last."""
    began = lines.line_num + 1
    try:
        for cells in lines:
            if cells:
                yield began, cells
            began = lines.line_num + 1
    except csv.Error as error:
        faults.append(_Fault(began, f"{error}"))


def _wrong_with(
    cells: Sequence[str], columns: Sequence[str], id_at: int, products: Mapping[str, Product]
) -> str | None:
    if len(cells) != len(columns):
        return f"there are {len(cells)} fields where the header has {len(columns)}"
    longest = max(cells, key=len)
    if len(longest) > MAX_FIELD_CHARACTERS:
        return f"a field has {len(longest):,} characters; at most {MAX_FIELD_CHARACTERS:,}"
    if sum(map(len, cells)) > MAX_ROW_CHARACTERS:
        return f"the row has more than {MAX_ROW_CHARACTERS:,} characters"
    if any("\0" in cell for cell in cells):
        return "a field holds the character NUL"
    product_id = cells[id_at].strip()
    if not 1 <= len(product_id) <= MAX_ID_CHARACTERS:
        return f"the id {columns[id_at]!r} has 1 to {MAX_ID_CHARACTERS} characters"
    if product_id in products:
        return f"the id {product_id[:100]!r} was there before"
    return None


def _of_cells(cells: Sequence[str], columns: Sequence[str], id_at: int) -> Product:
    texts = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
    product_id = texts.pop(columns[id_at])
    return Product(product_id, {name: text for name, text in texts.items() if text})


def _refused(
    faults: Sequence[_Fault], remedy: str = "Correct these lines and upload the whole file again."
) -> InvalidRequest:
    errors = [{"param": f"line {fault.line}", "message": f"{fault.message}."} for fault in faults]
    return InvalidRequest(
        f"Line {faults[0].line}: {faults[0].message}.",
        param=errors[0]["param"],
        errors=errors,
        remedy=remedy,
    )
