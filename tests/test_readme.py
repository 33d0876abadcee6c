"""The README and the guide: every block of Python in them runs, on its own, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "docs" / "guide.md")}
BLOCKS = [block for text in TEXTS.values() for block in re.findall(r"(?ms)^```python\n(.*?)^```", text)]
CLUSTER = [block for block in BLOCKS if "dask" in block]  # 2 GB on a cluster: tests/oracles/test_dask.py has that batch
ALONE = [block for block in BLOCKS if block not in CLUSTER]


@pytest.mark.parametrize("block", ALONE, ids=lambda block: block.partition("\n")[0])
def test_a_block_runs_on_its_own(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "block", "exec"), {})


def test_the_block_on_a_cluster_is_the_only_one_that_is_not_run():
    assert len(CLUSTER) == 1
    assert len(ALONE) > 4
    compile(CLUSTER[0], "block", "exec")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+)(#[^)]*)?\)", TEXTS[path])
    assert len(links) > 6
    for link, place in links:
        assert (path.parent / link).exists()
        if link.endswith(".md") and place:
            headings = re.findall(r"(?m)^#+ (.*)$", (path.parent / link).read_text(encoding="utf-8"))
            assert place[1:] in [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_readme_is_for_a_newcomer_in_a_hurry():
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 250


def test_the_readme_shows_the_results_in_short():
    pytest.importorskip("micrograd")
    from benchmarks.__main__ import in_short

    results = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    assert f"<!-- benchmark -->\n\n{in_short(results)}\n\n<!-- /benchmark -->" in TEXTS[ROOT / "README.md"]
