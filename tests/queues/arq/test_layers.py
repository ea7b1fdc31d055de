"""Who hangs up on the gateway stops all layers, with arq as the queue."""

from tests.queues.arq.bench import ArqBench
from tests.queues.layers.suite import LayerChecks


class TestLayers(LayerChecks):
    bench = ArqBench
