"""The measures that keep the code readable: what was reached once is not lost unseen."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILES = [*ROOT.glob("deepfake_core/**/*.py"), *ROOT.glob("flows/**/*.py")]
MAX_FILE_LINES, MEDIAN_FILE_LINES = 300, 130
MEDIAN_FUNCTION_LINES, NINTH_DECILE_FUNCTION_LINES = 9, 24
MAX_ARGUMENTS = 5
# Around the decoders of others, and around a download by Keras, which raises a bare Exception.
MAX_BROAD_EXCEPTS = 2
# Dictionaries of which nobody knows the keys.
MAX_UNTYPED = 91
MAX_CONFIGURED_PACKAGES = 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def count(pattern: str) -> int:
    return sum(len(re.findall(pattern, path.read_text())) for path in FILES)


def test_modules_are_small():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in FILES
        if path.name != "__init__.py"
    }
    assert not {name: number for name, number in lines.items() if number > MAX_FILE_LINES}
    assert statistics.median(lines.values()) <= MEDIAN_FILE_LINES


def test_functions_are_short():
    lines = [node.end_lineno - node.lineno + 1 for _, node in functions()]
    assert statistics.median(lines) <= MEDIAN_FUNCTION_LINES
    assert np.percentile(lines, 90) <= NINTH_DECILE_FUNCTION_LINES


def test_functions_take_few_arguments():
    taken = {
        name: len([argument for argument in arguments if argument.arg not in ("self", "cls")])
        for name, node in functions()
        for arguments in [node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
    }
    assert not {name: number for name, number in taken.items() if number > MAX_ARGUMENTS}


def test_what_is_caught_has_a_name():
    assert not count(r"except\s*:|except BaseException\b")
    assert count(r"except Exception\b") <= MAX_BROAD_EXCEPTS


def test_dictionaries_say_what_they_hold():
    assert count(r"\bJson\b|\bdict\[str, Any\]") <= MAX_UNTYPED


def test_the_configuration_of_a_scan_stays_where_it_is_resolved():
    packages = {
        path.relative_to(ROOT).parts[:2] if path.is_relative_to(ROOT / "deepfake_core") else "flows"
        for path in FILES
        if re.search(r"\bScanConfig\b", path.read_text())
    }
    assert len(packages) <= MAX_CONFIGURED_PACKAGES
