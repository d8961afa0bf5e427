"""The tutorials under docs/ run as they stand, in order, with the smaller numbers of their `# short:` remarks."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = ("pose_space", "sampling_poses", "preparing_motion", "training_a_prior")


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_runs(name, tmp_path, monkeypatch):
    text = (DOCS / f"{name}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    code = "\n".join(re.sub(r"^(\w+ = ).*  # short: (.*)$", r"\1\2", block, flags=re.MULTILINE) for block in blocks)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"{name}.md", "exec"), {"__name__": "tutorial"})
