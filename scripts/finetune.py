"""``python scripts/finetune.py …`` is ``htr-ssl finetune …``."""

import sys

from htr_ssl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "finetune")
    main()
