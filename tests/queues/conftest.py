"""`make test-integrations` runs the tests of each queue in its own environment; in any other none is run."""

import os
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

HERE = Path(__file__).parent
OURS = Path(sys.prefix).name.removeprefix(".venv-")

collect_ignore = [str(one) for one in HERE.iterdir() if one.is_dir() and one.name != OURS]

pytest.register_assert_rewrite("tests.queues.support.suite", "tests.queues.layers.suite")

# The sidecar is a process of the main environment, which alone has the extra `service`.
os.environ.setdefault("COUNTERMAND_SIDECAR", str(ROOT / ".venv/bin/countermand"))
