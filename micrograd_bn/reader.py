"""Reading a batch from a file: CSV or .npy, with errors that say what is wrong and where."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .kinds import Array

# Fisher, R. A. (1936), "The use of multiple measurements in taxonomic problems": 150 irises, four lengths in cm.
IRIS = Path(__file__).parent / "data" / "iris.csv"
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
COMMENT = re.compile(r"#(?! *[,;\t])")  # in #,a,b the # is a column's name
COUNTER = re.compile(r"(?:.*[ _.-])?(?:id|index|row|no|nr)\.?|#|", re.IGNORECASE)  # or no name, as pandas writes its index


class Unusable(ValueError):
    """Input that cannot be read as a batch of finite numbers; the message says what is wrong and where."""


class Batch(NamedTuple):
    """A batch as it was read."""

    name: str  # where it is from
    data: Array  # float64; one column a feature, or a .npy file's own shape
    columns: list[str]  # the names of the columns, from the header, or their numbers; none for .npy
    notes: list[str]  # what a person should know: which columns were skipped, that there is no header


def read_batch(path: str | None, columns: list[str] | None = None) -> Batch:
    """Read ``path``: CSV, .npy, "-" for CSV on standard input, None for the packaged Iris measurements.

    CSV may have a header or not, behind a # or not, and commas, semicolons, tabs or spaces. Columns without numbers are skipped,
    which the notes say; ``columns`` picks some by name or, where no name is the same, by number from 1. Raises Unusable.

    >>> batch = read_batch(None, columns=["petal_length_cm", "4"])
    >>> batch.data.shape, batch.columns
    ((150, 2), ['petal_length_cm', 'petal_width_cm'])
    """
    name = "the packaged Iris measurements" if path is None else "standard input" if path == "-" else path or "''"
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(IRIS if path is None else path).read_bytes()
    except OSError as error:
        raise Unusable(f"{name}: {error.strerror or error}") from None
    if not content:
        raise Unusable(f"{name}: the file is empty")
    if content.startswith(b"\x93NUMPY"):
        if columns:
            raise Unusable(f"{name}: a .npy file has no column names to pick from")
        return Batch(name, _read_npy(content, name), [], [])
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise Unusable(f"{name}: a zip file, as .npz and .xlsx are: save the one array with numpy.save, or the table as CSV")
    return _read_csv(content, name, columns)


def _read_npy(content: bytes, name: str) -> Array:
    try:
        data: Array = np.load(io.BytesIO(content), allow_pickle=False)  # a pickle could run code
    except Exception as error:  # NumPy's parser of a damaged header raises whatever Python does: IndexError, TokenError, …
        raise Unusable(f"{name}: not a readable .npy file of numbers ({error})") from None
    if data.dtype.kind not in "fiub":
        raise Unusable(f"{name}: the array has dtype {data.dtype}, and a batch is of real numbers")
    if data.ndim == 0 or data.size == 0:
        raise Unusable(f"{name}: the array has shape {data.shape}, which is no batch")
    with np.errstate(over="ignore", invalid="ignore"):  # what has no float64 is named below
        data = data.astype(np.float64)
    if not np.isfinite(data).all():
        where = np.argwhere(~np.isfinite(data))[0].tolist()
        raise Unusable(f"{name}: element {where} is {data[tuple(where)]}, and a batch is of finite numbers")
    return data


def _read_csv(content: bytes, name: str, columns: list[str] | None) -> Batch:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(f"{name}: neither .npy nor text in UTF-8 (byte {error.start})") from None
    body, form, notes = _without_comments(text)
    reader = csv.reader(io.StringIO(body, newline=""), strict=True, **form)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise Unusable(f"{name}: line {reader.line_num} is not a row of a table: {error}") from None
    if not lines:
        raise Unusable(f"{name}: the file holds nothing but blank lines")
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width:
            raise Unusable(f"{name}: line {number} has {len(cells)} cells, and line {lines[0][0]} has {width}")

    first_cells = lines[0][1]
    below = [[cells[j] for _, cells in lines[1:]] for j in range(width)]
    # A header is a first line with a word in it above a column of numbers, or nothing but words.
    has_header = not any(map(_meant_as_number, first_cells)) or any(
        cell.strip() and not _meant_as_number(cell) and _mostly_numbers(below[j]) for j, cell in enumerate(first_cells)
    )
    names = [(has_header and cell.strip()) or str(j + 1) for j, cell in enumerate(first_cells)]
    places: dict[str, int] = {}
    for j, column in enumerate(names):
        if places.setdefault(column, j) != j:
            both = f"columns {places[column] + 1} and {j + 1} are both named {column!r}"
            raise Unusable(f"{name}: line {lines[0][0]}: {both}: rename one")
    lines = lines[1:] if has_header else lines
    if not lines:
        raise Unusable(f"{name}: there is a header and no data")

    if not has_header:
        notes.append("no header: the first row is data")
    picked = []
    if columns:
        for column in columns:
            place = _place(column, places)
            if place is None:
                by_number = f", or by number 1 to {width}" if has_header else ""
                raise Unusable(f"{name}: no column {column!r}; there are {_listed(names)}{by_number}")
            picked.append(place)
        twice = [j for j, times in Counter(picked).items() if times > 1]
        if twice:
            raise Unusable(f"{name}: column {names[twice[0]]!r} is picked twice")
    else:
        for j in range(width):
            entries = [cells[j] for _, cells in lines]
            if _mostly_numbers(entries):
                picked.append(j)
            else:
                words = len(entries) - sum(map(_is_number, entries))
                notes.append(f"skipped {names[j]!r}: {words} of {len(entries)} cells are not numbers")
    if not picked:
        raise Unusable(f"{name}: no column holds numbers")

    data = np.empty((len(lines), len(picked)))
    for i, (number, cells) in enumerate(lines):
        for k, j in enumerate(picked):
            where = f"{name}: line {number}, column {names[j]!r}"
            if DECIMAL_COMMA.fullmatch(cells[j]):
                raise Unusable(
                    f"{where}: {cells[j].strip()!r} has a decimal comma: save the file with decimal points, or convert it"
                )
            if not _is_number(cells[j]):
                raise Unusable(f"{where}: {cells[j]!r} is not a number" if cells[j].strip() else f"{where}: an empty cell")
            data[i, k] = float(cells[j])
            if not math.isfinite(data[i, k]):
                raise Unusable(f"{where}: {cells[j].strip()} is not a finite number")
    for k, j in enumerate(picked):
        counts = len(data) > 2 and (data[:, k] == data[0, k] + np.arange(len(data))).all()
        if not columns and has_header and counts and COUNTER.fullmatch(first_cells[j].strip()):
            notes.append(
                f"{names[j]!r} only counts the rows, and is taken as a feature all the same: pick the others with --columns"
            )
    return Batch(name, data, [names[j] for j in picked], notes)


def _without_comments(text: str) -> tuple[str, dict[str, Any], list[str]]:
    """A table without the lines at its top that begin with #, but for a header behind one; how csv reads it; and what to say.

    np.savetxt writes such a header. Every line keeps its number.
    """
    above = list(takewhile(COMMENT.match, text.splitlines(keepends=True)))
    body = text[sum(map(len, above)) :]
    delimiter = _delimiter(body)
    form: dict[str, Any] = {"delimiter": delimiter, "skipinitialspace": delimiter == " "}
    if delimiter == " ":
        body = re.sub(r"[ \t]+(?=[\r\n]|$)", "", body)  # what is at the end of a line separates nothing
    if not above:
        return body, form, []
    header = above[-1].lstrip("# ").rstrip()
    names, *first = [next(csv.reader([line], **form), []) for line in (header, *_lines(body)[:1])]
    fits = all(len(cells) == len(names) and any(map(_meant_as_number, cells)) for cells in first)
    body = "\n" * (len(above) - 1) + (header if fits else "") + "\n" + body
    return body, form, [] if fits else ["skipped the lines at the top that begin with #"]


def _delimiter(text: str) -> str:
    """What separates the cells of a table."""
    lines = _lines(text) or [""]
    first = re.sub('"[^"]*"', '""', lines[0])
    if " " in first.strip() and all(map(_meant_as_number, first.split())):  # 5,1 3,5
        return " "
    for other in "\t;":  # in 5,1;3,5 the commas are not what separates
        if other in first and any(map(DECIMAL_COMMA.fullmatch, first.split(other))):
            return other
    if not any(map(first.count, ",;\t")):
        return " " if len(lines[-1].split()) > 1 else ","  # a name may have a space in it, above a single column
    return max(",;\t", key=first.count)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _listed(names: list[str]) -> str:
    """Names for a message of one line: in quotes where there is a line end in one, or a terminal's control character."""
    return ", ".join(name if name.isprintable() else repr(name) for name in names)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_000 as a number; a spreadsheet does not


def _meant_as_number(cell: str) -> bool:
    return _is_number(cell) or DECIMAL_COMMA.fullmatch(cell) is not None


def _mostly_numbers(cells: list[str]) -> bool:
    """Whether a column is meant as numbers, so that a cell that is none is a mistake and not a reason to skip it."""
    return 2 * sum(map(_meant_as_number, cells)) > len(cells)


def _place(column: str, places: dict[str, int]) -> int | None:
    """Where a column is: by its name, else by its number, from 1."""
    if column in places:
        return places[column]
    return int(column) - 1 if column.isdecimal() and 1 <= int(column) <= len(places) else None
