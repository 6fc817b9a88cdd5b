"""Errors: promises the program cannot keep. Each message says what to do now."""


class DeepfakeError(Exception):
    """Base of all errors that are meant for people; exit status 1."""


class UsageError(DeepfakeError):
    """The request itself is wrong: a path, a name, a setting; exit status 2."""


class SourceError(UsageError):
    """The source cannot be listed."""


class OutputError(UsageError):
    """The output cannot be written."""


class ModelError(UsageError):
    """A bundle is missing, incomplete or not what its hashes say."""


class PlanMismatch(UsageError):
    """A run is resumed with settings other than those it was planned with."""


class SourceOutage(DeepfakeError):
    """The source stopped answering during a run; the run can be resumed."""


class BrokenInvariant(DeepfakeError):
    """Rows do not add up; nothing is published from such a state."""


class CandidateRefused(DeepfakeError):
    """A candidate did not pass the gate, so it does not become current."""


class ForeignModelError(ModelError):
    """A network made elsewhere cannot be run here, or does not do what it was said to do."""


class TrainingError(DeepfakeError):
    """A training went astray, such as into a loss that is no number."""


class DataRefused(DeepfakeError):
    """The data checks found why nothing should be learnt from a labelled folder."""
