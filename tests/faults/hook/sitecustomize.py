"""Loaded by Python itself in every process under test (PYTHONPATH): notes in the file CURATE_FAULT_SOCKETS each address
that is looked up, connected or bound and is not of this machine alone."""

import os
import sys

_NOTES = os.environ.get("CURATE_FAULT_SOCKETS", "")
_EVENTS = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"}
_LOOPBACK = ("127.", "::1", "localhost", "/", "\0")
"""Paths and abstract names are sockets of this machine."""


def _note(event, arguments):
    if event not in _EVENTS:
        return
    address = arguments[0] if event.startswith("socket.get") else arguments[-1]
    host = address[0] if isinstance(address, tuple) else address
    text = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host)
    if host is not None and not text.startswith(_LOOPBACK):
        descriptor = os.open(_NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{event} {address!r}\n".encode())
        os.close(descriptor)


if _NOTES:
    sys.addaudithook(_note)
