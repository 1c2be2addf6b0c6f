"""``python -m understudy`` is ``understudy``."""

import sys

from understudy.main import main

sys.exit(main())
