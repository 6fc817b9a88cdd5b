"""Where a run works: the pull step of the deployments, on whatever machine has the worker."""

import os
from pathlib import Path

FOLDER = "DEEPFAKE_HOME"


def enter() -> dict[str, str]:
    """Go to the folder to which the relative paths in parameters are relative.

    It is that of the worker's variable DEEPFAKE_HOME or, without one, the folder in which this
    package lies: the checkout. So a deployment holds on machines other than that which made it.
    """
    folder = os.environ.get(FOLDER) or str(Path(__file__).resolve().parents[1])
    os.chdir(folder)
    return {"directory": folder}
