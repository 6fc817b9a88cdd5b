"""What the service counts, in the format of Prometheus; never a name, never a picture."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from deepfake_core.inference.judgement import Judgement

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Instruments:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        """Make the counters; nothing of the process is collected."""
        self._registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "deepfake_requests",
            "Answered requests.",
            ("path", "status"),
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "deepfake_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.images = Counter(
            "deepfake_images",
            "Judged images by label, failed ones by failure code.",
            ("outcome",),
            registry=self._registry,
        )
        self.batches = Histogram(
            "deepfake_batch_images",
            "Images that went through the network together.",
            buckets=(1, 2, 4, 8, 12, 16),
            registry=self._registry,
        )
        self.waiting = Gauge(
            "deepfake_images_waiting", "Images being judged now.", registry=self._registry
        )
        self.uploads = Gauge(
            "deepfake_uploads", "Uploads being received or judged now.", registry=self._registry
        )
        self.held = Gauge(
            "deepfake_upload_bytes", "Bytes of uploads held in memory.", registry=self._registry
        )
        self.ready = Gauge("deepfake_ready", "1 once the model can score.", registry=self._registry)
        self.model = Info("deepfake_model", "The model that judges.", registry=self._registry)

    def count(self, judgement: Judgement) -> None:
        """Count an image."""
        failure = judgement.failure
        self.images.labels(str(failure.code if failure else judgement.label)).inc()

    def render(self) -> bytes:
        """All figures as text."""
        return generate_latest(self._registry)
