"""Where StreamSpeech's simuleval.simul-s2st.sh looks for an agent that speaks: there is none yet.

SimulEval imports this file before it reads anything else of the run, and would otherwise end with
a traceback.
"""

import sys

print(
    "EchoStream has no speech output yet, so simuleval.simul-s2st.sh cannot run with it; "
    "simuleval.simul-s2tt.sh gives the translation as text.",
    file=sys.stderr,
)
sys.exit(2)
