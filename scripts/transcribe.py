"""``python scripts/transcribe.py …`` is ``htr-ssl transcribe …``."""

import sys

from htr_ssl.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "transcribe")
    main()
