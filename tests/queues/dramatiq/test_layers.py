"""Who hangs up on the gateway stops all layers, with dramatiq as the queue."""

from tests.queues.dramatiq.bench import DramatiqBench
from tests.queues.layers.suite import LayerChecks


class TestLayers(LayerChecks):
    bench = DramatiqBench
