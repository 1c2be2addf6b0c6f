"""A failover under load: ``python examples/failover_demo.py [--picture FILE]``."""

import sys

from understudy.demo import demo

sys.exit(demo(sys.argv[1:]))
