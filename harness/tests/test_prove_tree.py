"""The hash of what is being proven: content counts, what git ignores does not."""

import subprocess

import pytest

from harness.errors import MachineError
from harness.prove.tree import tree_hash


def test_the_tree_is_the_content_of_what_git_does_not_ignore(tmp_path):
    for folder in ("harness/__pycache__", "fixtures", "scenarios", "proof", "docker"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    (tmp_path / "harness" / "a.py").write_text("a")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    first = tree_hash(tmp_path)
    (tmp_path / "proof" / "x.jsonl").write_text("x")
    (tmp_path / "harness" / "__pycache__" / "a.pyc").write_text("x")
    assert tree_hash(tmp_path) == first
    (tmp_path / "scenarios" / "new.py").write_text("b")
    second = tree_hash(tmp_path)
    (tmp_path / "harness" / "a.py").write_text("c")
    third = tree_hash(tmp_path)
    (tmp_path / "docker" / "Dockerfile").write_text("d")
    assert len({first, second, third, tree_hash(tmp_path)}) == 4


def test_outside_a_checkout_it_says_so(tmp_path):
    with pytest.raises(MachineError, match="expected a git checkout"):
        tree_hash(tmp_path)
