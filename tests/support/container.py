"""Follows the steps of a Dockerfile in ordinary folders, where no container engine runs.

Each stage is a folder; copies respect ``.dockerignore``; ``RUN`` runs in the shell. What cannot be
had without an engine is left out: base images (this Python stands in), users, and isolation.
"""

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """A stage as far as it was built: its root folder and what it declared."""

    root: Path
    workdir: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    @property
    def place(self) -> Path:
        """The working directory on this machine."""
        return self.root / self.workdir.lstrip("/")

    def variables(self) -> dict[str, str]:
        """The environment of a process in this stage; paths in it lead into its folder."""
        ours = {
            key: value.replace(f"{self.workdir}/", f"{self.place}/") if key == "PATH" else value
            for key, value in self.environment.items()
        }
        path = ours.get("PATH", "$PATH").replace("$PATH", os.environ["PATH"])
        return {"HOME": str(self.root), **os.environ, **ours, "PATH": path}


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions with their arguments; continued lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [
        (name, rest.strip())
        for name, _, rest in (x.partition(" ") for x in joined.splitlines() if x)
    ]


def build(context: Path, place: Path) -> Stage:
    """Follow all steps below `place`; returns the last stage."""
    stages: dict[str, Stage] = {}
    stage = Stage(place)
    for name, rest in steps(context / "Dockerfile"):
        if name == "FROM":
            words = rest.split()
            label = words[2] if len(words) == 3 else "final"
            stage = stages[label] = Stage(place / label)
            stage.root.mkdir(parents=True)
        elif name == "COPY":
            _copy(rest, context, stage, stages)
        else:
            _follow(name, rest, stage)
    return stage


def _follow(name: str, rest: str, stage: Stage) -> None:
    if name == "WORKDIR":
        stage.workdir = rest
        stage.place.mkdir(parents=True, exist_ok=True)
    elif name in ("ARG", "ENV"):
        stage.environment.update(word.split("=", 1) for word in shlex.split(rest))
    elif name == "USER":
        stage.user = rest
    elif name == "ENTRYPOINT":
        stage.entrypoint = json.loads(rest)
    elif name == "CMD":
        stage.command = json.loads(rest)
    elif name == "HEALTHCHECK":
        stage.healthcheck = json.loads(rest[rest.index("CMD") + 3 :])
    elif name == "RUN":
        _run(rest, stage)
    elif name != "EXPOSE":
        raise ValueError(f"the step {name} is not understood here")


def _run(command: str, stage: Stage) -> None:
    if command.startswith("useradd"):
        return
    # The base image's pip may install into its system; here it gets an environment of its own.
    base = stage.root / "base"
    if not base.exists():
        subprocess.run([sys.executable, "-m", "venv", base], check=True)
    variables = stage.variables()
    variables["PATH"] = f"{base}/bin:{variables['PATH']}"
    # The cache of this machine saves a download of a gigabyte; the image keeps none.
    command = command.replace(" --no-cache ", " ")
    subprocess.run(["sh", "-ec", command], cwd=stage.place, env=variables, check=True)


def _copy(rest: str, context: Path, stage: Stage, stages: dict[str, Stage]) -> None:
    *sources, target = shlex.split(rest)
    if sources[0].startswith("--from="):
        origin = stages[sources.pop(0).removeprefix("--from=")]
        # An engine has both stages at one path; moving keeps the paths in the environment true.
        stage.place.rmdir()
        stage.place.symlink_to(origin.root / sources[0].lstrip("/"))
        return
    for source in sources:
        _copy_in(context, source, stage.place / target)


def _copy_in(context: Path, source: str, target: Path) -> None:
    ignored = (context / ".dockerignore").read_text().splitlines()
    if f"!{source}" not in ignored:
        raise ValueError(f"{source} is copied, but .dockerignore leaves it out")
    hidden = [line.removeprefix("**/") for line in ignored if line.startswith("**/")]
    origin = context / source
    if origin.is_file():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy2(origin, target / origin.name)
        return
    shutil.copytree(
        origin,
        target,
        ignore=lambda _, names: [n for n in names if any(fnmatch.fnmatch(n, h) for h in hidden)],
    )
