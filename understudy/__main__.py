"""``python -m understudy`` is ``understudy``, whatever lies in the current
directory."""

import sys
from pathlib import Path

# Python puts the current directory first, and a `client.py` there would be taken
# for a package of ours, a `json.py` for one of Python's.
_here = Path(__file__).resolve().parent.parent
if not sys.flags.safe_path and sys.path and Path(sys.path[0]).resolve() != _here:
    del sys.path[0]

from understudy.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
