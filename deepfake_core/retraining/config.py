"""What a retraining can be told; the descriptions appear in ``--help`` and in the Prefect form."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deepfake_core.datasets.reading import PLAIN, Reading
from deepfake_core.errors import UsageError
from deepfake_core.release.gate_config import GateConfig
from deepfake_core.results.run_ids import RUN_ID_PATTERN, no_folder_above
from deepfake_core.training.recipe import TrainConfig


class Recipe(BaseModel):
    """What a model is made by, and what its card says that cannot be measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: TrainConfig = Field(TrainConfig(), description="How the network is trained.")
    gate: GateConfig = Field(GateConfig(), description="What it must reach to become current.")
    trained_on: str = Field("", description="The images and weights it comes from; their terms.")
    limits: tuple[str, ...] = Field((), description="What it must not be used for.")
    one_class: tuple[str, ...] = Field(
        (), description="Sets whose classes differ in more than the label: reported class by class."
    )
    tiers: bool = Field(
        True,
        description="Whether the evaluation report measures degraded images, too; the card does "
        "in any case.",
    )
    int8: bool = Field(
        True, description="Whether ways to int8 are tried, which takes minutes; off: not qualified."
    )


class HeadConfig(BaseModel):
    """How a new head of a second look is fitted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    look: str = Field(
        min_length=1,
        description="The second look whose tower stays, NAME or NAME@VERSION; it must be current.",
    )
    views: int = Field(
        2, ge=0, le=20, description="Changed copies of each face that the head is fitted to, too."
    )
    features: str | None = Field(
        None,
        description="Folder of what the tower says of each face, kept for the next fit; by "
        "default it lies in the run's state.",
    )


class RetrainConfig(BaseModel):
    """Settings of one retraining."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(
        min_length=1,
        description="Labelled folder: real/ and fake/, with or without train/ and valid/ above "
        "them, or a manifest.csv.",
    )
    reading: Reading = Field(PLAIN, description="What names in the labelled folder mean.")
    name: str = Field(
        "resnet50",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="Name of the model that gets a new version.",
    )
    recipe: Recipe = Field(Recipe(), description="How it is made and judged.")
    head: HeadConfig | None = Field(
        None,
        description="Fit a new head of a second look, to be paired with the current version of "
        "`name`, and not a network; of the recipe only gate, trained_on and limits are used.",
    )
    teachers: tuple[str, ...] = Field(
        (), description="ONNX classifiers to distil, as paths; see the recipe's teacher_format."
    )
    unlabelled: str | None = Field(
        None, description="Folder of images of which only the teachers' opinion is used."
    )
    feedback: str | None = Field(
        None,
        description="Output of scans and service, local or s3://, whose feedback the candidate is "
        "tested on: images that people corrected. Nothing is learnt from them.",
    )
    output: str = Field(
        "reports", min_length=1, description="Local folder; the report goes to retrain/RUN below."
    )
    work: str | None = Field(
        None,
        description="Folder of the run's state; a killed run continues when it is started with "
        "the same folder. By default it lies beside the report.",
    )
    run_id: str | None = Field(
        None, pattern=RUN_ID_PATTERN, description="Name of the run; made of the time by default."
    )
    max_shortcut_auc: float = Field(
        0.75,
        ge=0.5,
        le=1,
        description="The shortcut audit fails where a property of the files alone surely tells "
        "the classes apart better than this AUC.",
    )
    allow_shortcuts: bool = Field(
        False,
        description="Train although the shortcut audit failed; the result cannot pass a gate "
        "that requires the audit.",
    )
    promote: bool = Field(
        True, description="Whether a version that passes the gate becomes current at once."
    )
    why: str = Field("", description="Reason, for the registry's log.")

    _folder = field_validator("run_id")(no_folder_above)


def read_recipe(path: Path | None) -> Recipe:
    """Read a recipe from a JSON file; the default one without a path.

    Raises:
        UsageError: the file cannot be read or is not a recipe.
    """
    if path is None:
        return Recipe()
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise UsageError(f"{path} is not a recipe: {what}") from error
