"""What the wheel carries beside the code: the current version of each small model.

Everything else about the package is in pyproject.toml. The models lie in ``models/`` of the
repository and in ``deepfake_models/`` beside the installed package, where
`deepfake_core.models.registry` finds them.
"""

import json
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODELS, SHIPPED = Path("models"), "deepfake_models"
# It has a wheel of its own (see its pyproject.toml): package indexes take 100 MB at most.
SEPARATE = {"clip"}


def shipped_files() -> list[Path]:
    """The files of the registry that travel: of each model the version that is used."""
    files = [MODELS / "recipe.json", *(MODELS / "canaries").iterdir()]
    for home in sorted(path for path in MODELS.iterdir() if path.is_dir()):
        versions = sorted(int(path.name) for path in home.iterdir() if path.name.isdigit())
        if home.name in SEPARATE or not versions:
            continue
        mark = home / "current.json"
        used = json.loads(mark.read_text())["version"] if mark.exists() else versions[-1]
        named = [mark, home / "log.jsonl", *(home / str(used)).iterdir()]
        files += [path for path in named if path.is_file()]
    return files


class BuildWithModels(build_py):
    """Copies the models beside the package; an editable install finds them where they are."""

    def run(self) -> None:
        """Build the package, then add the models."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / SHIPPED
        # What an earlier build left may be of another version.
        shutil.rmtree(target, ignore_errors=True)
        for path in shipped_files():
            place = target / path.relative_to(MODELS)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


setup(cmdclass={"build_py": BuildWithModels})
