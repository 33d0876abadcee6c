"""So that ``python -m micrograd_bn`` is the command line."""

import sys

from .cli import main

sys.exit(main())
