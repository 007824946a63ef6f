"""Files are whole or absent, and what cannot be written is one sentence."""

import json
import resource
from contextlib import contextmanager

import pytest
import torch

from edgepriv import files
from edgepriv.errors import UserError


@contextmanager
def small_files_only():
    """No file may grow beyond 4 kB, as on a full disk. Not a fixture: pytest's own output may be a file, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_is_read(tmp_path):
    files.write_json(tmp_path / "new" / "folder" / "x.json", {"a": [1, 2.5, None]})
    assert files.read_json(tmp_path / "new" / "folder" / "x.json", "test") == {"a": [1, 2.5, None]}


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("old")

    def half_written():
        with files.written_aside(path) as aside:
            aside.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_written()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_aside_replaces_what_a_killed_run_has_left_and_goes(tmp_path):
    with files.folder_aside(tmp_path / "new" / "model.onnx") as aside:
        (aside / "model.onnx").write_text("half")
        left = aside
    assert not left.exists()
    left.mkdir()
    (left / "left over").write_text("half")
    with files.folder_aside(tmp_path / "new" / "model.onnx") as aside:
        assert aside == left
        assert not list(aside.iterdir())
    assert not list((tmp_path / "new").iterdir())


def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(b"old")
    with small_files_only(), pytest.raises(UserError, match=r"cannot write .*big\.bin: .* larger than the limit"):
        files.write_bytes(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_under_torch_save_says_so(tmp_path):
    def save():
        with files.written_aside(tmp_path / "model.pt") as aside:
            torch.save({"w": torch.zeros(100_000)}, aside)

    with small_files_only(), pytest.raises(UserError, match=r"cannot write .*model\.pt"):
        save()
    assert list(tmp_path.iterdir()) == []


def test_other_runtime_errors_are_not_taken_for_a_full_disk(tmp_path):
    def fail():
        with files.written_aside(tmp_path / "x"):
            raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        fail()


@pytest.mark.parametrize("below", ["x.json", "deeper/x.json"])
def test_a_file_where_a_folder_belongs_is_one_sentence(tmp_path, below):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(UserError, match="a part of that path is a file, not a folder"):
        files.write_text(tmp_path / "a_file" / below, "content")


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_unreadable_json_is_named_by_its_role(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*absent\.json \(manifest\)"):
        files.read_json(tmp_path / "absent.json", "manifest")
    (tmp_path / "broken.json").write_text('{"a": ')
    with pytest.raises(UserError, match="not a readable manifest"):
        files.read_json(tmp_path / "broken.json", "manifest")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(UserError, match="not a readable manifest"):
        files.read_json(tmp_path / "bytes.json", "manifest")


def test_existing_files_are_replaced_only_on_request(tmp_path):
    path = tmp_path / "model.onnx"
    files.refuse_existing([path], force=False)
    path.write_text("")
    with pytest.raises(UserError, match=r"model\.onnx exists already.*--force"):
        files.refuse_existing([tmp_path / "other", path], force=False)
    files.refuse_existing([path], force=True)
    with pytest.raises(UserError, match="is a folder"):
        files.refuse_existing([tmp_path], force=True)


def test_sha256_is_the_usual_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_ends_with_a_newline(tmp_path):
    files.write_json(tmp_path / "x.json", {"a": 1})
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text) == {"a": 1}


def test_what_is_read_is_never_written_by_whatever_name(tmp_path):
    read, link, hard = tmp_path / "in.npz", tmp_path / "link.npz", tmp_path / "hard.npz"
    read.write_text("the only copy")
    link.symlink_to(read)
    hard.hardlink_to(read)
    for path in (read, link, hard, tmp_path / "." / "in.npz"):
        with pytest.raises(UserError, match=f"{path}.* that this command reads: choose another -o"):
            files.refuse_overwriting([None, tmp_path / "absent", read], [tmp_path / "new.json", path])
    files.refuse_overwriting([read], [tmp_path / "new.json", tmp_path / "absent"])


def test_nothing_is_written_over_what_lies_in_a_folder_that_is_read(tmp_path):
    picture = tmp_path / "set" / "cat" / "1.png"
    picture.parent.mkdir(parents=True)
    picture.write_text("a cat")
    with pytest.raises(UserError, match=f"1.png would be written, but lies in {tmp_path / 'set'} that"):
        files.refuse_overwriting([tmp_path / "set"], [picture])
    beside = tmp_path / "set" / "model.pt"
    beside.write_text("an earlier model")
    files.refuse_overwriting([tmp_path / "set"], [beside])
