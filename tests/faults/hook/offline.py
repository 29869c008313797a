"""Run a command in a network of its own that has loopback and nothing else: offline.py COMMAND ARGUMENT..."""

import fcntl
import os
import socket
import struct
import sys

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of Linux."""

if __name__ == "__main__":
    if os.environ.get("CURATE_FAULT_INSIDE") != "1":
        inside = {**os.environ, "CURATE_FAULT_INSIDE": "1"}
        # a user namespace hides some processes from each other, so that root does without
        options = ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]
        os.execvpe("unshare", ["unshare", *options, sys.executable, __file__, *sys.argv[1:]], inside)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        flags = struct.unpack("16sh", fcntl.ioctl(handle, _GET_FLAGS, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack("16sh", b"lo", flags | _UP))
    os.execvp(sys.argv[1], sys.argv[1:])
