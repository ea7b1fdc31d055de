"""These tests need what is in .venv-integrations: nothing but `make test-integrations` runs them."""

import sys
from pathlib import Path

collect_ignore_glob = [] if Path(sys.prefix).name == ".venv-integrations" else ["test_*.py"]
