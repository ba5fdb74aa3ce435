"""`python -m banach.compiler` is `banach`."""

import sys

from banach.compiler.cli import main

sys.exit(main())
