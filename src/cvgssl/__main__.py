"""`python -m cvgssl`: the same as the command `cvgssl`."""

import sys

from cvgssl.cli.main import main

sys.exit(main())
