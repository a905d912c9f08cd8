"""`python -m ds3tool` is `ds3tool`."""

import sys

from ds3tool.cli.main import main

sys.exit(main())
