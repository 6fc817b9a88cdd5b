"""The repository keeps what its front page says."""

import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deepfake_core
from deepfake_core.records import FailureCode
from deepfake_core.results.schema import VERDICTS, markdown_table
from deepfake_core.scanning.config import ScanConfig

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs" / "results.md").read_text()
# A __main__ is a program, not a module to import.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(deepfake_core.__path__, "deepfake_core.")
    if not module.name.endswith("__main__")
)
HEAVY = {"tensorflow", "keras", "openvino", "prefect", "matplotlib", "dask", "distributed"}


def make_targets() -> dict[str, str]:
    """Each target of the Makefile with its help line, or an empty one."""
    rules = re.findall(r"^([a-z-]+):(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return {name: rest.partition("## ")[2].strip() for name, rest in rules}


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def between(marker: str) -> str:
    pattern = rf"<!-- {marker}:start -->\n(.*?)<!-- {marker}:end -->"
    found = re.search(pattern, RESULTS, re.DOTALL)
    assert found, f"docs/results.md lacks the markers of {marker}"
    return found[1].strip()


def options_table() -> str:
    """The options of a scan as the documents show them."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for name, field in ScanConfig.model_fields.items():
        if name == "source":
            continue
        flag = "--" + name.replace("_", "-")
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        if isinstance(field.default, bool):
            default = "on" if field.default else "off"
            flag = f"{flag}`, `--no-{flag[2:]}" if field.default else flag
        rows.append(f"| `{flag}` | {default} | {field.description} |")
    return "\n".join(rows)


def test_readme_names_targets_that_exist():
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE))
    assert {"scan", "test"} <= named
    assert named <= set(make_targets())


def test_every_target_has_a_help_line():
    targets = make_targets()
    assert {"help", "setup", "scan", "test", "check", "bench"} <= set(targets)
    assert not [name for name, text in targets.items() if not text]


@pytest.mark.processes
def test_make_alone_lists_the_targets():
    # Not as a part of the make that may have started these tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    listed = subprocess.run(
        ["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in listed.splitlines()] == list(make_targets())


def test_the_documents_show_the_schema():
    assert between("schema") == markdown_table()


def test_the_documents_show_the_options():
    assert between("options") == options_table()


def test_the_documents_explain_every_failure_code():
    explained = re.findall(r"^\| `((?:read|decode|score)\.\w+)` \|", RESULTS, re.MULTILINE)
    assert explained == [code.value for code in FailureCode]


def test_readme_queries_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judged = {"image": "a.jpg", "status": "ok", "score": 0.9, "label": "fake"}
    failed = {"image": "b.jpg", "status": "failed", "failure": "decode.corrupt"}
    columns = pa.schema([field.with_nullable(True) for field in VERDICTS])
    table = pa.Table.from_pylist([judged, failed], schema=columns)
    folder = tmp_path / "reports" / "verdicts" / "run_date=2026-11-24"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "run.parquet")
    pq.write_table(table, tmp_path / "reports" / "latest.parquet")
    monkeypatch.chdir(tmp_path)

    every, newest = (duckdb.sql(query).fetchall() for query in fenced("sql"))
    assert sorted((row[1:] for row in every), key=str) == [
        ("fake", None, 1),
        (None, "decode.corrupt", 1),
    ]
    assert [row[0] for row in newest] == ["a.jpg"]
    for code in fenced("python"):
        exec(code, {})


def test_relative_links_of_the_documentation_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "reports" / "README.md"]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not broken


@pytest.mark.processes
def test_importing_the_core_loads_nothing_heavy():
    code = (
        f"import importlib, sys\n"
        f"for name in {MODULES!r}:\n"
        f"    importlib.import_module(name)\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        f"    assert not heavy, f'{{name}} loads {{heavy}}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_lock_file_holds_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in wanted}
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    assert names <= locked
    assert not re.search(r"://|^-|^/| @ ", lock, re.MULTILINE), "it names a place, not a version"


def test_the_lock_file_is_free_of_gpu_libraries():
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.findall(r"^(?:torch|nvidia\S*|triton)==", lock, re.MULTILINE)


def test_the_map_names_every_package():
    core = ROOT / "deepfake_core"
    names = {f"{file.parent.name}/" for file in core.glob("*/__init__.py")}
    names |= {file.name for file in core.glob("*.py") if file.name != "__init__.py"}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = text.partition("<!-- map -->")[2].partition("<!-- /map -->")[0]
    lines = [line for line in shown.strip().splitlines() if not line.startswith("```")]
    assert {line.split()[0] for line in lines} == names
    assert set(re.findall(r"`(\w+/\w+\.py)`", text)) <= {
        str(file.relative_to(core)) for file in core.rglob("*.py")
    } | {"flows/scan.py"}


def test_every_page_and_decision_is_listed_and_has_the_same_form():
    docs = ROOT / "docs"
    index = (docs / "README.md").read_text()
    for page in docs.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
    for record in sorted((docs / "decisions").glob("*.md")):
        text, number = record.read_text(), record.name[:4]
        assert text.startswith(f"# {number}: ")
        assert f"[{number}](decisions/{record.name})" in index
        for part in ("Context", "Decision", "Consequences", "What would change our mind"):
            assert f"\n**{part}.**" in text, f"{record.name} lacks {part}"


@pytest.mark.processes
def test_packages_use_what_lies_below_them_and_nothing_needs_itself():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
