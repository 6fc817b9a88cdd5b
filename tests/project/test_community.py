"""The files by which others find their way are valid, and say what is so."""

import sys
from pathlib import Path

import pytest
import yaml

from deepfake_core import __version__

ROOT = Path(__file__).resolve().parents[2]


def read(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_citation_names_this_version():
    cited = read("CITATION.cff")
    assert cited["version"] == __version__
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(cited)


def test_the_workflow_runs_what_anybody_can_run():
    workflow = read(".github/workflows/ci.yml")
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(step.get("run") == ".ci/run" for step in steps)
    assert all(step["with"] for step in steps if "uses" in step)
    (scan,) = (
        step for step in steps if "deepfake" in step.get("run", "") and "scan" in step["run"]
    )
    assert "timeout 60" in scan["run"]


@pytest.mark.parametrize("name", ["bug", "wrong_verdict"])
def test_an_issue_form_asks_for_what_is_needed_and_for_no_pictures(name: str):
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= set(form)
    kinds = {"markdown", "textarea", "input"}
    assert {element["type"] for element in form["body"]} <= kinds
    ids = [element["id"] for element in form["body"] if element["type"] != "markdown"]
    assert len(ids) == len(set(ids)) >= 2
    assert "no pictures of people" in form["body"][0]["attributes"]["value"]


def test_the_hooks_call_tools_that_are_installed():
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    for hook in hooks:
        tool = Path(hook["entry"].split()[0])
        assert tool.parent == Path(".venv/bin")
        assert Path(sys.executable).with_name(tool.name).exists(), hook["id"]
