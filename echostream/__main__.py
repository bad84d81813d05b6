"""`python -m echostream` is the command `echostream`."""

import sys

from echostream.cli import main

sys.exit(main())
