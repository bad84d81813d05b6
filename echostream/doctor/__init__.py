"""`echostream doctor`: which SimulEval is installed, and which of its columns are right."""
