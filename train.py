"""The published pre-training command. `cvgssl pretrain` with the published settings."""

import sys

from cvgssl.cli.published_train import main

if __name__ == "__main__":
    sys.exit(main())
