"""Who hangs up on the gateway stops all layers, with taskiq as the queue."""

from tests.queues.layers.suite import LayerChecks
from tests.queues.taskiq.bench import TaskiqBench


class TestLayers(LayerChecks):
    bench = TaskiqBench
    sidecars = 2
