"""The networks of a run, asked about known pictures before they judge others."""

from __future__ import annotations

import threading

from deepfake_core.engines.engine import Engine
from deepfake_core.errors import SuspectNetworks
from deepfake_core.inference.canaries import check_first, check_second
from deepfake_core.inference.opening import Networks, open_classifier
from deepfake_core.models.canaries import CanaryCheck, join_checks
from deepfake_core.provenance.c2pa_signature import SignatureChecker


class CanaryWatch:
    """The networks of a run, loaded, with how they answered the known pictures.

    The second look is asked when the first face needs it; it is not loaded for this.

    Attributes:
        classifier: the networks.
    """

    def __init__(self, networks: Networks, *, checker: SignatureChecker | None = None) -> None:
        """Load the networks; nothing is asked before `begin`.

        Args:
            networks: which.
            checker: checks signatures of content credentials, see `open_classifier`.
        """
        self._networks = networks
        self._stop = False
        self._second_engine: Engine | None = None
        self._lock = threading.Lock()
        self._first, self._second = CanaryCheck(), CanaryCheck()
        self.classifier = open_classifier(networks, checker=checker, on_second=self._ask_second)

    def known(self) -> CanaryCheck:
        """How the pictures were answered so far."""
        with self._lock:
            return join_checks([self._first, self._second])

    def begin(self, *, stop: bool = False) -> None:
        """Ask the finder and the first look; the second one too if it is loaded already.

        Args:
            stop: whether a network that answers otherwise than it did ends the run.

        Raises:
            SuspectNetworks: one does, and `stop` is set; the second look's answers raise it when
                the first face needs it.
            ModelError: the answers or a picture are damaged.
        """
        self._stop = stop
        self._second = CanaryCheck()
        self._first = check_first(self._networks, self.classifier)
        self._stop_if(self._first)
        if self._second_engine is not None:
            self._ask_second(self._second_engine)

    def _ask_second(self, engine: Engine) -> None:
        # Other lanes come after the one that was refused, and need not load it again.
        self._stop_if(self._second)
        check = check_second(self._networks, self.classifier, engine)
        with self._lock:
            self._second, self._second_engine = check, engine
        self._stop_if(check)

    def _stop_if(self, check: CanaryCheck) -> None:
        if self._stop and check.suspect:
            words = "; ".join(drift.words for drift in check.drifts)
            raise SuspectNetworks(
                f"known pictures are not answered as they should be: {words}. Install this version "
                "and its models again, or find out what is different on this machine"
            )
