"""The environment itself: the client beside the real SDKs, neither minding the other."""

from importlib.metadata import requires

import countermand


def test_the_client_needs_none_of_them() -> None:
    """What it is tested against is nothing that it asks for."""
    needed = {line.split(">")[0] for line in requires("countermand") or () if "extra ==" not in line}
    assert needed == {"grpcio", "grpcio-status", "protobuf"}
    assert countermand.connect
