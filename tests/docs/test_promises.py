"""The promises of docs/reliability.md name tests that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\[`(test_\w+)`\]\(\.\./([\w/]+\.py)\)")


def test_each_promise_links_to_its_test(repository: Path) -> None:
    """Every link has a function of that name in the file that it leads to."""
    text = (repository / "docs" / "reliability.md").read_text("utf-8")
    links = LINK.findall(text)
    missing = [
        f"{name} in {path}"
        for name, path in links
        if f"def {name}(" not in (repository / path).read_text("utf-8")
    ]
    assert missing == []
    assert len(links) >= 40
