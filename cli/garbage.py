"""How often Python looks for garbage in processes that fold events."""

import gc

GC_THRESHOLD = 20_000  # objects made before the collector looks at the youngest


def collect_garbage_rarely() -> None:
    """What was imported stays, and what events leave behind is mostly not cyclic.

    Python's defaults cost a twentieth of the throughput.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)
