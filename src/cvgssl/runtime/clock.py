"""How long a job took, over all the processes that worked on it one after another."""

import time


class Clock:
    """Seconds since it was made, after those of earlier processes."""

    def __init__(self) -> None:
        self._wall, self._processor = time.monotonic(), time.process_time()

    def went_on(self, seconds: float, processor_seconds: float) -> None:
        """Add what a run had taken when it was interrupted."""
        self._wall -= seconds
        self._processor -= processor_seconds

    @property
    def seconds(self) -> float:
        """By the clock on the wall, without the time between processes."""
        return time.monotonic() - self._wall

    @property
    def processor_seconds(self) -> float:
        """Of all cores, of this process; that of a busy machine as of a quiet one."""
        return time.process_time() - self._processor
