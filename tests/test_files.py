"""Writing through a temporary name: complete or not at all."""

import os
import signal

import pytest

from maury.errors import OutputError
from maury.files import atomic_path, check_writable, sha256

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")


def test_the_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "new" / "out.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["out.txt"]


def test_a_failure_keeps_what_was_there_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_keeps_what_was_there(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("old")
    child = os.fork()
    if child == 0:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert target.read_text() == "old"


@pytest.fixture(params=["directory", "below a file", "fifo", "no such place"])
def unwritable(request, tmp_path):
    """Paths at which no file can be written."""
    if request.param == "directory":
        return tmp_path
    if request.param == "below a file":
        (tmp_path / "file").write_text("")
        return tmp_path / "file" / "out.txt"
    if request.param == "fifo":
        os.mkfifo(tmp_path / "fifo")
        return tmp_path / "fifo"
    return "/proc/none/out.txt"


def test_an_unwritable_path_is_refused_by_name(unwritable):
    with pytest.raises(OutputError, match=f"^{unwritable}: cannot be written: "), atomic_path(unwritable):
        pass
    with pytest.raises(OutputError, match=f"^{unwritable}: cannot be written: "):
        check_writable(unwritable)


@as_root
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"out\.txt: cannot be written: Permission denied"):
        check_writable(tmp_path / "out.txt")


def test_a_check_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "out.txt")
    assert os.listdir(tmp_path) == []
    (tmp_path / "out.txt").write_text("old")
    check_writable(tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_the_hash_is_sha256(tmp_path):
    """Of "abc", the example of FIPS 180-2."""
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_checking_leaves_no_folder_behind(tmp_path):
    (tmp_path / "kept").mkdir()
    check_writable(tmp_path / "kept" / "new" / "newer" / "out.h5")
    assert (tmp_path / "kept").is_dir()
    assert not (tmp_path / "kept" / "new").exists()
