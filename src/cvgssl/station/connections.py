"""Connections to a station, closed where they ask nothing."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """One that has `timeout_keep_alive` seconds for the whole head of each request.

    uvicorn counts them only from an answer to the next byte: a connection without any byte, or with
    half a head, would take one of the places for ever.
    """

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """See whether a head is whole now, or a part of the next one has come."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to count again."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        super().connection_lost(exc)
        self._stop()

    def _look(self) -> None:
        """Begin to count where a head is waited for, and end where one is there."""
        if self.transport.is_closing() or (self.cycle and not self.cycle.response_complete):
            self._stop()
        elif self._waits is None:
            self._waits = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _stop(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None
