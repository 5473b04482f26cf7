"""``python scripts/pretrain.py …`` is ``htr-ssl pretrain …``."""

import sys

from htr_ssl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "pretrain")
    main()
