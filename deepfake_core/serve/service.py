"""What stands behind the routes: the model, once it is loaded, and who may use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from deepfake_core.inference.classifier import Classifier
from deepfake_core.inference.judgement import Judgement
from deepfake_core.inference.opening import Networks, open_classifier
from deepfake_core.scanning.credentials import choose_checker
from deepfake_core.serve.batching import Batcher
from deepfake_core.serve.config import ServeConfig
from deepfake_core.serve.instruments import Instruments
from deepfake_core.serve.problems import Refusal, RequestCode, busy
from deepfake_core.serve.schemas import ModelFacts, model_facts
from deepfake_core.serve.tokens import is_known, read_tokens
from deepfake_core.serve.uploads import Upload


class Service:
    """A model that loads while the first requests are answered."""

    def __init__(
        self, networks: Networks, config: ServeConfig, *, on_failure: Callable[[Exception], None]
    ) -> None:
        """Check what can be checked at once; `on_failure` hears why the model did not load.

        Raises:
            UsageError: the file of tokens is none, or that of the trust list.
        """
        self.networks, self.config = networks, config
        self.instruments = Instruments()
        self.facts: ModelFacts = model_facts(networks, config)
        self._digests = read_tokens(Path(config.tokens)) if config.tokens else {}
        self._checker = choose_checker(config.trust_list)
        self._on_failure = on_failure
        self._batcher: Batcher | None = None
        described = {"model_id": self.model_id, "precision": networks.precision}
        self.instruments.model.info(described)

    @property
    def model_id(self) -> str:
        """The model that was asked for: the first look."""
        return self.networks.bundle.model_id

    @property
    def has_tokens(self) -> bool:
        """Whether requests need a token."""
        return self.config.tokens is not None

    @property
    def is_ready(self) -> bool:
        """Whether the model can score: it has scored."""
        return self._batcher is not None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG002
        """Load the model beside the server's work; stop its threads in the end."""
        loading = asyncio.create_task(self._load())
        loading.add_done_callback(self._tell_failure)
        try:
            yield
        finally:
            loading.cancel()
            if self._batcher:
                await self._batcher.close()

    async def _load(self) -> None:
        classifier = await asyncio.to_thread(self._open)
        batcher = Batcher(
            classifier,
            wait_seconds=self.config.wait_ms / 1000,
            max_waiting=self.config.max_waiting,
            on_batch=self.instruments.batches.observe,
        )
        await batcher.warm_up()
        batcher.start()
        self.instruments.waiting.set_function(lambda: batcher.waiting)
        self.instruments.ready.set(1)
        self._batcher = batcher

    def _tell_failure(self, loading: asyncio.Task[None]) -> None:
        """A damaged bundle, a full memory, an error of OpenVINO: the command tells and ends."""
        error = None if loading.cancelled() else loading.exception()
        if isinstance(error, Exception):
            self._on_failure(error)

    def _open(self) -> Classifier:
        return open_classifier(self.networks, checker=self._checker)

    def authorise(self, token: str | None) -> None:
        """Let a request pass that has a known token."""
        if token and is_known(token, self._digests):
            return
        message = "expected the header `Authorization: Bearer TOKEN` with a token known here"
        challenge = {"WWW-Authenticate": "Bearer"}
        raise Refusal(401, RequestCode.UNAUTHORISED, message, challenge)

    async def judge(self, uploads: list[Upload]) -> list[Judgement]:
        """Judge the files of a request, in their order."""
        if self._batcher is None:
            raise busy("the model is being loaded")
        judgements = await self._batcher.judge([upload.content for upload in uploads])
        for judgement in judgements:
            self.instruments.count(judgement)
        return judgements
