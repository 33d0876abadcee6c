"""The README: every block of Python in it runs, on its own, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```python\n(.*?)^```", TEXT)
CLUSTER = [block for block in BLOCKS if "dask" in block]  # 2 GB on a cluster: tests/oracles/test_dask.py has that batch
ALONE = [block for block in BLOCKS if block not in CLUSTER]


@pytest.mark.parametrize("block", ALONE, ids=lambda block: block.partition("\n")[0])
def test_a_block_runs_on_its_own(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})


def test_the_block_on_a_cluster_is_the_only_one_that_is_not_run():
    assert len(CLUSTER) == 1
    assert len(ALONE) > 4
    compile(CLUSTER[0], "README.md", "exec")


def test_the_readmes_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) > 6
    for link in links:
        assert (README.parent / link).exists()
