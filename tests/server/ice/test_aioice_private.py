"""What visavis relies on in aioice beyond its public interface, against the version that requirements.txt pins."""

from __future__ import annotations

import inspect
from importlib.metadata import version

from aioice import stun
from aioice.ice import Connection, StunProtocol
from aiortc import RTCPeerConnection
from aiortc.rtcicetransport import RTCIceGatherer


def test_version() -> None:
    assert version("aioice").startswith("0.13."), "read server/ice/aioice_private.py again"


def test_candidates_are_gathered_by_the_method_that_is_replaced() -> None:
    assert list(inspect.signature(Connection.get_component_candidates).parameters)[:3] == [
        *("self", "component", "addresses"),
    ]
    gathering = inspect.getsource(Connection.gather_candidates)
    assert "self.get_component_candidates(component=component, addresses=addresses)" in gathering
    assert "self._protocols += host_protocols" in inspect.getsource(Connection.get_component_candidates)


def test_names_of_a_connection() -> None:
    connection = Connection(ice_controlling=False)
    assert connection.local_username == connection._local_username
    assert connection._protocols == []
    assert connection._queue.qsize() == 0
    assert callable(connection.data_received)
    assert list(inspect.signature(connection.request_received).parameters) == ["message", "addr", "protocol"]


def test_names_of_a_protocol() -> None:
    assert list(inspect.signature(StunProtocol.request).parameters) == [
        *("self", "request", "addr", "integrity_key", "retransmissions"),
    ]
    assert list(inspect.signature(StunProtocol.send_stun).parameters) == ["self", "message", "addr"]
    initialised = inspect.getsource(StunProtocol.__init__)
    assert "self.receiver = receiver" in initialised
    assert "self.transactions" in initialised
    assert "self.transport.close()" in inspect.getsource(StunProtocol.close)
    assert callable(stun.Transaction.response_received)


def test_a_request_is_answered_with_success_only_when_it_was_authenticated() -> None:
    source = inspect.getsource(Connection.request_received)
    assert source.index("check_message_integrity") < source.index("stun.Class.RESPONSE")


def test_how_a_peer_holds_its_connections() -> None:
    assert "self.__iceTransports: set[RTCIceTransport]" in inspect.getsource(RTCPeerConnection.__init__)
    assert isinstance(RTCIceGatherer([])._connection, Connection)
