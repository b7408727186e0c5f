"""`python -m vlmrl.cli`: the command, where `vlmrl` is not on the PATH."""

import sys

from vlmrl.cli import main

if __name__ == "__main__":
    sys.exit(main())
