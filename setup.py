"""What pyproject.toml cannot say: the README as PyPI shows it, where paths into the repository lead nowhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent


def readme_for_pypi(text: str, repository: str | None) -> str:
    """The README with whole addresses below `repository` for its pictures and links.

    Without a repository (no "Repository" among the project's URLs) pictures are left out and links are plain words.
    """
    path = r"\((?!\w+:|#)([^)\s]+)\)"  # (docs/solver.md), not (https://...) and not (#start)
    if repository is None:
        return re.sub(rf"\[([^\]]*)\]{path}", r"\1", re.sub(rf"!\[[^\]]*\]{path}\n*", "", text))
    base = repository.rstrip("/")
    text = re.sub(rf"(!\[[^\]]*\]){path}", rf"\1({base}/raw/HEAD/\2)", text)
    return re.sub(rf"(\[[^\]]*\]){path}", rf"\1({base}/blob/HEAD/\2)", text)


if __name__ == "__main__":
    from setuptools import setup

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=readme_for_pypi(readme, project.get("urls", {}).get("Repository")),
        long_description_content_type="text/markdown",
    )
