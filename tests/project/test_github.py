"""The files for the code host are what it expects, and every action is pinned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
GITHUB = REPOSITORY / ".github"
FIELDS = {"textarea", "input", "dropdown", "checkboxes", "markdown"}


def loaded(path: Path) -> Any:
    """What a YAML file says."""
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_workflows_are_pinned_and_have_few_rights(name: str) -> None:
    """Every action is named by its commit with its version beside it; rights are given by job."""
    text = (GITHUB / "workflows" / name).read_text("utf-8")
    uses = re.findall(r"uses: (.*)", text)

    assert uses
    assert [u for u in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", u)] == []
    assert loaded(GITHUB / "workflows" / name)["permissions"] == {}


def test_a_release_needs_no_token() -> None:
    """What is published was built and attested by the job before; no password is needed."""
    text = (GITHUB / "workflows" / "release.yml").read_text("utf-8")
    jobs = loaded(GITHUB / "workflows" / "release.yml")["jobs"]

    assert jobs["build"]["permissions"]["attestations"] == "write"
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in text


@pytest.mark.parametrize("name", ["bug.yml", "idea.yml"])
def test_issue_forms_are_forms(name: str) -> None:
    """A form has a name, a description, and fields with labels and ids that differ."""
    form = loaded(GITHUB / "ISSUE_TEMPLATE" / name)
    fields = form["body"]

    assert form["name"]
    assert form["description"]
    assert {field["type"] for field in fields} <= FIELDS
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_dependabot_watches_what_is_pinned() -> None:
    """Actions and base images are kept current, in folders that exist."""
    config = loaded(GITHUB / "dependabot.yml")
    watched = {each["package-ecosystem"]: each["directory"] for each in config["updates"]}

    assert config["version"] == 2
    assert watched == {"github-actions": "/", "docker": "/deploy"}
    assert list((REPOSITORY / "deploy").glob("Dockerfile*"))


def test_the_citation_is_complete() -> None:
    """What the citation format requires is there."""
    citation = loaded(REPOSITORY / "CITATION.cff")

    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["type"] == "software"
