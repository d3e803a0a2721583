"""What is measured: our server, the baseline that is carried here, and the peers that are installed.

Each is a `Target`: it says why it cannot run here, or starts and says how the load generator speaks to it.
"""

from .base import Running, Target
from .baseline import Baseline
from .nats import JetStream, Nats
from .nchan import Nchan
from .ours import Ours
from .socketio import SocketIO

OURS = Ours()
BASELINE = Baseline()
JETSTREAM = JetStream()
TARGETS: tuple[Target, ...] = (OURS, BASELINE, Nchan(), SocketIO(), Nats())

__all__ = ["BASELINE", "JETSTREAM", "OURS", "TARGETS", "Running", "Target"]
