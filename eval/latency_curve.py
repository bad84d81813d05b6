"""`echostream curve` from a checkout: python eval/latency_curve.py --help."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # this folder must give way to the root

from echostream.cli import main  # noqa: E402

sys.exit(main(["curve", *sys.argv[1:]]))
