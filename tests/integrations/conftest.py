"""`make test-integrations` runs these tests in .venv-integrations; in any other environment none is run."""

import sys
from pathlib import Path

collect_ignore_glob = [] if Path(sys.prefix).name == ".venv-integrations" else ["test_*.py", "*/test_*.py"]
