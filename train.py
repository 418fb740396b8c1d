"""The published pre-training command. Same as `cvgssl pretrain`."""

import sys

from cvgssl.cli.published_train import main

if __name__ == "__main__":
    sys.exit(main())
