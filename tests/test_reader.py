"""Reading a batch: what is accepted, what is skipped and said so, and what is refused with its place."""

import io

import numpy as np
import pytest

from micrograd_bn.reader import Unusable, read_batch


@pytest.fixture
def write(tmp_path):
    def write(content, name="batch.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def test_iris_is_packaged():
    batch = read_batch(None)
    assert batch.data.shape == (150, 4)
    assert batch.columns == ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"]
    assert batch.notes == ["skipped 'species': 150 of 150 cells are not numbers"]


@pytest.mark.parametrize(
    ("text", "columns", "data"),
    [
        ("a,b\n1,2\n3,4\n", ["a", "b"], [[1, 2], [3, 4]]),
        ("1,2\n3,4\n", ["1", "2"], [[1, 2], [3, 4]]),
        ("1;2\n3;4", ["1", "2"], [[1, 2], [3, 4]]),
        ("a\tb\r\n1\t2\r\n", ["a", "b"], [[1, 2]]),
        ("\ufeffa,b\n1,2\n", ["a", "b"], [[1, 2]]),
        ('"length, cm",b\n1,2\n', ["length, cm", "b"], [[1, 2]]),
        ("a\n1\n\n2\n\n", ["a"], [[1], [2]]),
        ("year,2019,2020\n7,1,2\n8,3,4\n", ["year", "2019", "2020"], [[7, 1, 2], [8, 3, 4]]),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", ["1", "2"], [[5.1, 3.5], [4.9, 3.0]]),
        (" 1e-3 , -2 \n.5,+4\n", ["1", "2"], [[0.001, -2], [0.5, 4]]),
        ("1 2\n3 4\n", ["1", "2"], [[1, 2], [3, 4]]),
        ("a    b \n  1  2\r\n 30 40  \n", ["a", "b"], [[1, 2], [30, 40]]),
        ('"length, cm" b\n1 2\n', ["length, cm", "b"], [[1, 2]]),
        ("length in cm\n1\n2\n", ["length in cm"], [[1], [2]]),
        ("# a b\n1 2\n", ["a", "b"], [[1, 2]]),
        ("#a,b\n1,2\n", ["a", "b"], [[1, 2]]),
        ("#,a\n7,2\n", ["#", "a"], [[7, 2]]),
        ("# two lengths\n# a, b\n1,2\n", ["a", "b"], [[1, 2]]),
        ("# the year 2019\n1,2\n", ["1", "2"], [[1, 2]]),
    ],
)
def test_csv(write, text, columns, data):
    batch = read_batch(write(text))
    assert batch.columns[: len(columns)] == columns
    assert batch.data.tolist() == data


def test_a_name_that_would_move_the_cursor_is_shown_in_quotes(write):
    path = write('"a\nb",c\x1b[2J,d\nx,y,1\nz,w,2\n')
    assert read_batch(path).notes == [
        "skipped 'a\\nb': 2 of 2 cells are not numbers",
        "skipped 'c\\x1b[2J': 2 of 2 cells are not numbers",
    ]
    with pytest.raises(Unusable, match=r"there are 'a\\nb', 'c\\x1b\[2J', d, or by number 1 to 3$"):
        read_batch(path, ["e"])


def test_columns_are_picked_by_name_or_number(write):
    assert read_batch(write("a,b,c\n1,2,x\n3,4,y\n"), ["b"]).data.tolist() == [[2], [4]]
    assert read_batch(write("1,2\n3,4\n"), ["2", "1"]).data.tolist() == [[2, 1], [4, 3]]
    assert read_batch(write("a,b,c\n1,2,x\n3,4,y\n"), ["2"]).columns == ["b"]
    assert read_batch(write("year,2,1\n7,8,9\n"), ["2", "1"]).data.tolist() == [[8, 9]]  # a name goes before a number


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a,b\n1,2\n", ["c"], "no column 'c'; there are a, b, or by number 1 to 2"),
        ("a,b\n1,2\n", ["0"], "no column '0'; there are a, b, or by number 1 to 2"),
        ("1,2\n3,4\n", ["3"], "no column '3'; there are 1, 2$"),
        ("a,b\n1,2\n", ["b", "b"], "column 'b' is picked twice"),
        ("a,b\n1,2\n", ["b", "2"], "column 'b' is picked twice"),
        ("a,b,a\n1,2,3\n", None, "line 1: columns 1 and 3 are both named 'a': rename one"),
    ],
)
def test_a_column_that_is_not_there_or_there_twice_is_refused(write, content, columns, message):
    with pytest.raises(Unusable, match=message):
        read_batch(write(content), columns)


def test_a_file_without_a_header_is_told_so(write):
    assert read_batch(write("2019,2020\n1,2\n")).notes == ["no header: the first row is data"]
    assert read_batch(write("a,b\n1,2\n")).notes == []


def test_what_numpy_savetxt_writes_is_read(tmp_path):
    table = np.array([[1.5, -2e-300], [0.1, 4.0]])
    np.savetxt(tmp_path / "plain.txt", table)
    assert read_batch(str(tmp_path / "plain.txt")).data.tolist() == table.tolist()
    np.savetxt(tmp_path / "named.txt", table, header="a b")
    batch = read_batch(str(tmp_path / "named.txt"))
    assert (batch.columns, batch.data.tolist(), batch.notes) == (["a", "b"], table.tolist(), [])


def test_lines_at_the_top_that_name_no_columns_are_skipped_and_keep_the_numbers_of_those_below(write):
    path = write("# measured in 2019\n# by hand\na,b\n1,2\n3,oops\n5,6\n")
    with pytest.raises(Unusable, match="line 5, column 'b': 'oops' is not a number"):
        read_batch(path)
    assert read_batch(write("# by hand\n1,2\n")).notes == [
        "skipped the lines at the top that begin with #",
        "no header: the first row is data",
    ]


COUNTS = " only counts the rows, and is taken as a feature all the same: pick the others with --columns"


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("id,a\n1,5\n2,3\n3,4\n", ["'id'" + COUNTS]),
        (",a\n0,5\n1,3\n2,4\n", ["'1'" + COUNTS]),  # as pandas writes its index
        ("a,flower_id\n5,7\n3,8\n4,9\n", ["'flower_id'" + COUNTS]),
        ("id,a\n1,5\n3,3\n2,4\n", []),
        ("year,humid\n2019,1\n2020,2\n2021,3\n", []),
        ("id,a\n1,5\n2,3\n", []),  # of two, one is the next one's neighbour by chance
    ],
)
def test_a_column_that_only_counts_the_rows_is_pointed_out(write, text, noted):
    assert read_batch(write(text)).notes == noted
    assert read_batch(write(text), ["1"]).notes == []  # who picks it wants it


def test_what_is_skipped_is_told_with_how_many_cells_are_not_numbers(write):
    notes = read_batch(write("a,b,c\n1,x,u\n2,3,v\n4,y,w\n5,6,q\n")).notes
    assert notes == ["skipped 'b': 2 of 4 cells are not numbers", "skipped 'c': 4 of 4 cells are not numbers"]


@pytest.mark.parametrize(
    "content", ["5,1;3,5\n4,9;3,0\n", "a;b\n5,1;3,5\n4,9;3,0\n", "5,1\t3,5\n", '"5,1","3,5"\n', "5,1;a\n", "5,1 3,5\n"]
)
def test_decimal_commas_are_recognised(write, content):
    with pytest.raises(Unusable, match=r"line \d, column '(1|a)': '5,1' has a decimal comma: save the file with decimal points"):
        read_batch(write(content))


def test_a_comma_in_a_column_of_words_is_no_decimal_comma(write):
    batch = read_batch(write('a,place\n1,"Oslo, 5,1"\n2,"5,1"\n3,Rome\n'))
    assert batch.columns == ["a"]


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1,2\n3,4\n")))
    assert read_batch("-").data.shape == (2, 2)


def test_npy(write):
    content = io.BytesIO()
    np.save(content, np.arange(24).reshape(2, 3, 4))
    batch = read_batch(write(content.getvalue(), "batch.npy"))
    assert batch.data.shape == (2, 3, 4)
    assert batch.data.dtype == np.float64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "nothing but blank lines"),
        ("a,b\n", "a header and no data"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, and line 1 has 2"),
        ("a,b\nx,y\nz,w\n", "no column holds numbers"),
        ("a,b\n1,2\n3,oops\n5,6\n", "line 3, column 'b': 'oops' is not a number"),
        ("a,b\n1,2\n3,\n5,6\n", "line 3, column 'b': an empty cell"),
        ("# a,b\n1,2\nx,y\n5,6\n", "line 3, column 'a': 'x' is not a number"),
        ("a,b\n1,2\n3,NaN\n", "line 3, column 'b': NaN is not a finite number"),
        ("1,2\n-inf,4\n", "line 2, column '1': -inf is not a finite number"),
        ('a\n"1\n', "line 2 is not a row of a table: unexpected end of data"),
        (b"\xff\xfe\x00\x01", "neither .npy nor text in UTF-8"),
        (b"\x93NUMPY\x01\x00garbage", "not a readable .npy"),
    ],
)
def test_unusable_files_are_refused_with_the_place(write, content, message):
    with pytest.raises(Unusable, match=message):
        read_batch(write(content))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan]), r"element \[1\] is nan"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([1j]), "dtype complex128"),
        (np.array([{}], dtype=object), "not a readable .npy"),
        (np.array(1.0), r"shape \(\)"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
    ],
)
def test_unusable_npy_files(tmp_path, array, message):
    path = tmp_path / "batch.npy"
    np.save(path, array)
    with pytest.raises(Unusable, match=message):
        read_batch(str(path))


@pytest.mark.parametrize(
    "array",
    [np.array(["1e4000"]).astype(np.longdouble), np.frombuffer(bytes.fromhex("0000a07f"), "<f4")],
    ids=["large", "signalling"],
)
def test_a_number_that_float64_has_not_is_refused_without_a_warning(tmp_path, array):
    if np.finfo(array.dtype).max == np.finfo(float).max:
        pytest.skip("a long double is a double here")
    np.save(tmp_path / "batch.npy", array)
    with pytest.raises(Unusable, match=r"element \[0\] is (inf|nan)"):
        read_batch(str(tmp_path / "batch.npy"))


def npy(header: str, data: bytes = bytes(16)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1180591620717411303424,)}",  # 2 ** 70: an OverflowError in NumPy
        "{'descr': ('<f8',), 'fortran_order': False, 'shape': (2,)}",  # an IndexError
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,",  # a TokenError
        "{[]: 1}",  # a TypeError
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
    ],
)
def test_a_damaged_npy_header_is_refused_with_the_files_name(write, header):
    with pytest.raises(Unusable, match=r"batch\.npy: not a readable \.npy"):
        read_batch(write(npy(header), "batch.npy"))


def test_a_missing_file_a_folder_and_a_column_of_words(tmp_path, write):
    with pytest.raises(Unusable, match="No such file"):
        read_batch(str(tmp_path / "absent.csv"))
    for folder in (str(tmp_path), ""):  # and "" is not None, which is Iris
        with pytest.raises(Unusable, match="directory"):
            read_batch(folder)
    with pytest.raises(Unusable, match="'x' is not a number"):
        read_batch(write("a,b\n1,x\n"), ["b"])
