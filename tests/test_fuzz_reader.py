"""Whatever a file holds, the command line ends: with the report, or with one line that says why not.

Never a traceback, never a hang, never a pickle loaded: for CSV, .npy and .npz, well-formed, damaged and hostile.
"""

import io
import json
import pickle
import resource
import subprocess
import sys
import time
import tracemalloc
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micrograd_bn import cli, verify
from micrograd_bn.reader import Batch, Unusable, read_batch
from tests.strategies import layouts, prop

SECONDS = 10  # a hang is what takes longer; the slowest of these files takes a tenth of a second


def standard_input(content: bytes, function, *arguments):
    """Call a function with ``content`` on standard input, where reading is the same as from a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return function(*arguments)


def read(content: bytes) -> Batch:
    return standard_input(content, read_batch, "-")


def assert_ends_well(content: bytes, *arguments, batch: str = "-") -> int:
    """The exit code of ``verify``: 0 and a report, or 2 and one line. An exception fails the test by itself."""
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with redirect_stdout(out), redirect_stderr(err), np.errstate(all="ignore"):
        code = standard_input(content, cli.main, ["verify", batch, "--json", *arguments])
    assert time.perf_counter() - start < SECONDS
    *notes, last = err.getvalue().split("\n")[:-1] or [""]
    assert all(note.startswith("note: ") for note in notes)
    assert all(line.isprintable() for line in (*notes, last))
    if code == 2:
        assert out.getvalue() == ""
        assert last.startswith("micrograd-bn: ")
    else:
        report = json.loads(out.getvalue())
        assert len(report["rows"]) == 20
        assert last.startswith("note: ") or not last
        assert code == 0 or (code == 1 and not report["ok"] and is_out_of_reach(read(content).data))
    return code


def is_out_of_reach(data) -> bool:
    """The honest boundary: rows may differ, and the exit code be 1, where numbers are finite and their squares infinite or 0."""
    sizes = np.abs(data[data != 0])
    return bool(sizes.size and (sizes.max() > 1e150 or sizes.min() < 1e-150))


# ---- What there is in files


numbers = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e100, 1e100).filter(lambda number: number == 0 or abs(number) > 1e-100)
odd_cells = st.sampled_from(
    [
        "",
        " ",
        "word",
        "nan",
        "-inf",
        "1e400",
        "1_000",
        "0x10",
        "１２",
        "1,5",
        '"',
        '""',
        "a\nb",
        "\0",
        "\x1b[31m",
        "\u2028",
        "9" * 400,
    ]
)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
encodings = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])


@st.composite
def tables(draw):
    """CSV as people and programs write it: with and without a header, ragged, quoted, in several encodings."""
    width = draw(st.integers(1, 4))
    cell = st.one_of(moderate.map(repr), st.integers(-99, 99).map(str), odd_cells)
    usual = st.one_of(moderate.map(repr), st.integers(-99, 99).map(str))
    tidy, labelled = draw(st.booleans()), draw(st.booleans())
    rows = draw(st.lists(st.lists(usual if tidy else cell, min_size=width, max_size=width), max_size=5))
    if draw(st.booleans()):
        rows.insert(0, draw(st.lists(st.text(max_size=8) | odd_cells, min_size=width, max_size=width)))
    if labelled:
        rows = [[draw(odd_cells | st.text(max_size=8)), *row] for row in rows]
    if not tidy and rows and draw(st.booleans()):
        draw(st.sampled_from(rows)).append(draw(cell))
    quoted, delimiter, end = draw(st.booleans()), draw(st.sampled_from(",;\t ")), draw(line_ends)
    rows = [['"' + c.replace('"', '""') + '"' if quoted else c for c in row] for row in rows]
    text = draw(st.sampled_from(["", "", "# ", f"# made by hand{end}"]))
    text += end.join(map(delimiter.join, rows)) + draw(st.sampled_from(["", end]))
    return text.encode(draw(encodings), errors="replace")


def npy(array, **options) -> bytes:
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def npz(save=np.savez, **arrays) -> bytes:
    content = io.BytesIO()
    save(content, **arrays)
    return content.getvalue()


def with_header(header: str, data: bytes = bytes(64), version: int = 1) -> bytes:
    encoded = header.encode("utf-8")
    return b"\x93NUMPY" + bytes([version, 0]) + len(encoded).to_bytes(2 if version == 1 else 4, "little") + encoded + data


arrays = st.builds(
    lambda array, layout: layout(array),
    hnp.arrays(
        "u1",
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
        elements=st.integers(0, 1) | st.integers(0, 100),
    ).flatmap(lambda array: st.sampled_from(["f2", "f4", "f8", "g", "i1", "u8", "i4", "?"]).map(array.astype)),
    layouts,
)
other_arrays = hnp.arrays(st.sampled_from(["U3", "S3", "c16", "M8[s]", "f4,i2"]), hnp.array_shapes(min_dims=0, max_side=3))

descriptions = st.sampled_from(
    ["'<f8'", "'>f4'", "'|O'", "'|V0'", "'|S0'", "'<f16'", "('<f8',)", "('<f8', (2,))", "[('a', '<f8')]", "[()]", "5", "''"]
)
sizes = st.one_of(st.integers(-2, 4), st.sampled_from([2**31, 2**40, 2**62, 2**63, 2**70]), st.booleans())
headers = st.one_of(
    st.builds(
        "{{'descr': {}, 'fortran_order': {}, 'shape': {}}}".format,
        descriptions,
        st.sampled_from(["False", "True", "0", "None"]),
        st.lists(sizes, max_size=4).map(lambda shape: repr(tuple(shape))) | st.sampled_from(["3", "[3]", "(1.0,)", "'3'"]),
    ),
    st.text(max_size=40),
    st.sampled_from(["(", "[", "-", "{", "'''", "{[]: 1}", "{1: 2, 'a': 3}"]).map(lambda text: text * 3000),
)


class Canary:
    """An object whose unpickling is noticed."""

    sung = 0

    def __reduce__(self):
        return sing, ()


def sing():
    Canary.sung += 1
    return 1.0


OBJECTS = np.array([Canary(), Canary()], dtype=object)
PICKLES = (
    npy(OBJECTS, allow_pickle=True),
    npz(x=OBJECTS),
    npz(np.savez_compressed, x=np.ones(2), y=OBJECTS),
    pickle.dumps(OBJECTS),
    pickle.dumps(Canary(), protocol=0),  # which is text
    with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", pickle.dumps(Canary())),
    with_header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (2,)}", pickle.dumps(OBJECTS)),
)
ZIPS = (
    npz(x=np.eye(3)),
    npz(x=np.eye(3), y=np.ones(2), **{"../../etc/passwd": np.ones(1), "": np.ones(1)}),
    npz(np.savez_compressed, x=np.zeros(10**7)),  # 80 MB in 80 kB
    npz(),
)
TABLES = (b"a,b\n1,2\n3,4.5\n-6e3,7\n", b'"length, cm";"x"\r\n1;2\r\n3;4\r\n')
FILES = (npy(np.arange(12.0).reshape(4, 3)), *TABLES, *PICKLES, *ZIPS[:2])


@st.composite
def damaged(draw, files=FILES):
    """A file with a few bytes changed, cut out, put in or repeated, or that breaks off."""
    content = draw(st.sampled_from(files))
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, min(len(content), 300)))
        j = i + draw(st.integers(0, 20))
        change = draw(st.sampled_from(["replace", "insert", "repeat", "break off", "nothing"]))
        if change == "break off":
            content = content[:i]
        elif change == "repeat":
            content = content[:j] + content[i:]
        elif change != "nothing":
            new = draw(st.binary(max_size=4) | st.sampled_from([b"\0", b'"', b",", b"\n", b"(", b"9999999999", b"|O", b"-"]))
            content = content[:i] + new + content[i + len(new) if change == "replace" else i :]
    return content


# ---- What is claimed


def test_the_canary_sings_where_a_pickle_is_loaded():
    """So that its silence below says something."""
    before = Canary.sung
    np.load(io.BytesIO(PICKLES[0]), allow_pickle=True)
    pickle.loads(PICKLES[4])
    assert Canary.sung == before + 3


@prop(12, content=st.one_of(st.sampled_from(PICKLES), damaged(PICKLES)))
def test_no_pickle_is_ever_loaded(content):
    before = Canary.sung
    assert_ends_well(content)
    assert Canary.sung == before


@prop(12, content=tables())
def test_any_table_ends_well(content):
    assert_ends_well(content)


@prop(12, content=damaged())
def test_a_damaged_file_ends_well(content):
    assert_ends_well(content)


@prop(12, start=st.sampled_from([b"", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x93NUMPY\x01\0"]), rest=st.binary(max_size=200))
def test_random_bytes_end_well(start, rest):
    assert_ends_well(start + rest)


@prop(12, header=headers, version=st.sampled_from([1, 2, 3, 9]), data=st.binary(max_size=80))
def test_any_npy_header_ends_well(header, version, data):
    assert_ends_well(with_header(header, data, version))


@prop(8, array=arrays | other_arrays)
def test_any_npy_ends_well(array):
    assert_ends_well(npy(array))


@pytest.mark.parametrize("content", ZIPS, ids=["one array", "several arrays", "80 MB in 80 kB", "empty"])
def test_an_npz_is_refused_unopened(content):
    assert assert_ends_well(content) == 2
    with pytest.raises(Unusable, match=r"a zip file, as \.npz and \.xlsx are: save the one array with numpy\.save"):
        read(content)


@prop(8, content=st.one_of(tables(), damaged(), arrays.map(npy), st.binary(max_size=200)))
def test_any_upstream_gradient_ends_well(content):
    with TemporaryDirectory() as folder:
        batch = Path(folder) / "batch.csv"
        batch.write_bytes(TABLES[0])
        assert_ends_well(content, "--upstream=-", batch=str(batch))


@prop(6, columns=st.text(max_size=10), content=st.sampled_from(TABLES) | tables())
def test_any_choice_of_columns_ends_well(columns, content):
    assert_ends_well(content, f"--columns={columns}")


@prop(
    12,
    data=st.data(),
    delimiter=st.sampled_from([",", ";", "\t", " ", "  "]),
    end=line_ends,
    mark=st.sampled_from(["", "\ufeff", "# made by hand\n"]),
)
def test_every_float_comes_back_from_csv_as_it_was(data, delimiter, end, mark):
    quote = data.draw(st.sampled_from(["", '"']))
    table = data.draw(hnp.arrays(float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=4), elements=numbers))
    lines = [delimiter.join(f"{quote}{number!r}{quote}" for number in row) for row in table.tolist()]
    if data.draw(st.booleans()):
        lines.insert(0, delimiter.join(f"{quote}x{j}{quote}" for j in range(table.shape[1])))
    np.testing.assert_array_equal(read((mark + end.join(lines)).encode()).data, table)


@prop(8, array=arrays)
def test_every_npy_of_real_numbers_comes_back_as_it_was(array):
    got = read(npy(array)).data
    assert (got.dtype, got.shape) == (np.float64, array.shape)
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(1099511627776, 0)"])
def test_a_huge_shape_takes_no_memory(tmp_path, shape):
    """A file of 200 bytes that promises terabytes, read with 2 GB of address space."""
    path = tmp_path / "huge.npy"
    path.write_bytes(with_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"))

    def little_memory():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    command = [sys.executable, "-m", "micrograd_bn", "verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, preexec_fn=little_memory)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"micrograd-bn: {path}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "column", [[0.1, 0.1, 0.1], [5.506686653846475e16, 5.506686653846475e16, 5.506686653845794e16]], ids=["constant", "far from 0"]
)
def test_the_report_allows_for_the_rounding_of_mu(column):
    """Around a mean that is off by d, a variance is larger by d²: a column of 0.1 does not have a variance of 0."""
    report = verify(np.array(column)[:, None])
    assert report.ok


def test_a_zip_that_swells_is_not_unpacked():
    with zipfile.ZipFile(io.BytesIO(ZIPS[2])) as archive:
        assert archive.infolist()[0].file_size > 100 * len(ZIPS[2])
    tracemalloc.start()
    with pytest.raises(Unusable, match="a zip file"):
        read(ZIPS[2])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * len(ZIPS[2])
