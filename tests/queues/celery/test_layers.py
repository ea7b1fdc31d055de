"""Who hangs up on the gateway stops all layers, with celery as the queue."""

from tests.queues.celery.bench import CeleryBench
from tests.queues.layers.suite import LayerChecks


class TestLayers(LayerChecks):
    bench = CeleryBench
