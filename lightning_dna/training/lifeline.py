"""A process that does not outlive the one that started it."""

import os
import threading
import time

_LOOK_SECONDS = 0.25


def die_with_parent(parent: int) -> None:
    """End this process soon after its parent is gone, so that no orphan goes on with its work.

    Args:
        parent: Process id of the one that started this process.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
