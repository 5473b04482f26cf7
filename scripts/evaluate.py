"""``python scripts/evaluate.py …`` is ``htr-ssl evaluate …``."""

import sys

from htr_ssl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
