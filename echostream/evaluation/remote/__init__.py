"""An evaluation whose agent runs on another machine, in a server of SimulEval."""
