"""What the server of the worker processes imports first: it ends with its parent, and leaves garbage alone."""

from __future__ import annotations

import ctypes
import gc
import signal

PR_SET_PDEATHSIG = 1

# A run that ends while the server still imports, say at a wrong option, would otherwise keep its reader waiting for the end of its output.
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
gc.disable()  # an eighth of the imports' time; the workers collect again
