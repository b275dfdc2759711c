"""What a demo could leave behind: processes that name its directory, and ports that still answer. Linux only."""

import os
import socket
from pathlib import Path


def processes_naming(folder: Path) -> list[str]:
    """The command lines of the processes, other than this one, that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            line = _read(entry / "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
            if str(folder) in line:
                found.append(line)
    return found


def listening_ports(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    inodes = {link[8:-1] for link in _links(Path(f"/proc/{pid}/fd")) if link.startswith("socket:[")}
    lines = [line.split() for line in _read(Path(f"/proc/{pid}/net/tcp")).decode().splitlines()[1:]]
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and line[9] in inodes}


def open_ports(ports: set[int]) -> set[int]:
    """Those of the loopback ports that accept a connection."""
    answering = set()
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                answering.add(port)
    return answering


def _links(folder: Path) -> list[str]:
    return [str(path.readlink()) for path in folder.iterdir()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended meanwhile
        return b""
