"""The first file under ROOT that StreamSpeech's pred.offline-s2st.sh runs: it has nothing to do.

The script goes on after each of its commands that fails, and ends with a status that is not zero.
"""

import sys

print(
    "EchoStream has no models for fairseq, so pred.offline-s2st.sh cannot run with it; "
    "`python eval/latency_curve.py --offline` scores the text of whole recordings.",
    file=sys.stderr,
)
sys.exit(2)
