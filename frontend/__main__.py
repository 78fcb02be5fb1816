"""`python -m remora.frontend` is the same as the command `remora`."""

from __future__ import annotations

import sys

from remora.frontend.cli import main

sys.exit(main())
