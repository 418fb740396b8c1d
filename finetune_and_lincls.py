"""The published command: few-shot fine-tuning and linear evaluation. `finetune` or `linear`."""

import sys

from cvgssl.cli.published_finetune import main

if __name__ == "__main__":
    sys.exit(main())
