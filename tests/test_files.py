"""Files are there whole or not at all, and what stood in their place is respected."""

import os
import stat
import threading

import pytest

from micrograd_bn.files import write_whole


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_keeps_its_mode_and_a_new_one_gets_the_umasks(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch(0o600)
    write_whole(old, b"content")
    write_whole(new, b"content")
    (tmp_path / "touched").touch()
    assert (mode(old), mode(new)) == (0o600, mode(tmp_path / "touched"))


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"content")
    reader.join()
    assert read == [b"content"] and pipe.is_fifo()


def test_a_link_to_nowhere_names_the_folder_that_is_missing(tmp_path):
    link = tmp_path / "link.svg"
    link.symlink_to(tmp_path / "absent" / "g.svg")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent"):
        write_whole(link, b"content")
