"""Checkpoints as files: which are kept, which are passed over, and which are nobody's business."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import torch

from splatkit.train.checkpoint import load_checkpoint, save_checkpoint


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    said: list[str] = []
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"fingerprint": "a", "step": step, "x": torch.arange(1000)})
    files = sorted(tmp_path.iterdir())
    assert [p.name[:13] for p in files] == ["step-00000002", "step-00000003"]
    content = bytearray(files[1].read_bytes())
    content[len(content) // 2] ^= 1
    files[1].write_bytes(content)
    state = load_checkpoint(tmp_path, "a", said.append)
    assert state is not None and state["step"] == 2
    assert "damaged" in said[0]
    assert not files[1].exists(), "it would take the place of a good one"
    assert load_checkpoint(tmp_path, "b", said.append) is None and files[0].exists()
    assert "other photos or options" in said[-1]
    assert load_checkpoint(tmp_path / "none", "a", said.append) is None


def test_checkpoints_of_another_training_give_way_to_the_first_of_this_one(tmp_path: Path) -> None:
    for step in (144, 200):
        save_checkpoint(tmp_path, step, {"fingerprint": "a", "step": step})
    assert load_checkpoint(tmp_path, "b", print) is None
    assert len(list(tmp_path.iterdir())) == 2, "until there is one of this training"
    for step in (20, 40, 60):
        save_checkpoint(tmp_path, step, {"fingerprint": "b", "step": step})
    assert sorted(int(path.name[5:13]) for path in tmp_path.iterdir()) == [40, 60]
    state = load_checkpoint(tmp_path, "b", print)
    assert state is not None and state["step"] == 60


def test_files_of_other_programs_in_the_folder_of_checkpoints_are_left_alone(tmp_path: Path) -> None:
    foreign = ["step-00000500.pt", "step-1000.pt", "step-00000500-best.pt", ".writing-model", "step-final.pt"]
    for name in foreign:
        (tmp_path / name).write_bytes(b"another program's")
    (tmp_path / f"step-00000100-{'0' * 16}.pt").write_bytes(b"of an earlier version")
    for step in (1, 2, 3):
        assert (load_checkpoint(tmp_path, "a", print) or {"step": 0})["step"] == step - 1
        save_checkpoint(tmp_path, step, {"fingerprint": "a", "step": step})
    left = {path.name for path in tmp_path.iterdir()}
    assert set(foreign) <= left and len(left) == len(foreign) + 2


def test_what_a_killed_process_was_writing_is_removed_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    live = os.getppid()
    names = {number: tmp_path / f".writing-{number}" for number in (ended.pid, os.getpid(), live, 1)}
    for path in names.values():
        path.write_bytes(b"half of one")
    assert load_checkpoint(tmp_path, "a", print) is None
    assert {path.name for path in tmp_path.iterdir()} == {f".writing-{live}", ".writing-1"}
    long_ago = time.time() - 3700
    os.utime(names[live], (long_ago, long_ago))
    load_checkpoint(tmp_path, "a", print)
    assert not names[live].exists(), "whose number is another process's by now"


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, {"fingerprint": "a", "step": 1, "trap": Path("x")})
    with pytest.raises(Exception, match=r"[Ww]eights"):
        load_checkpoint(tmp_path, "a", print)
