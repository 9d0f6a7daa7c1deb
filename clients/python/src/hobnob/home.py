"""Where the node of this user listens for programs."""
from __future__ import annotations

import os
from pathlib import Path


def socket_path(home: str | os.PathLike[str] | None = None) -> Path:
    """The local socket of the node that runs in this home, by default the user's own home."""
    environ = os.environ
    named = home or environ.get("HOBNOB_HOME")
    if named:
        data = Path(named)
        default = data / "control.sock"
    else:
        shared = environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
        data = Path(shared) / "hobnob"
        default = Path(environ.get("XDG_RUNTIME_DIR") or shared) / "hobnob/control.sock"
    try:  # the first line of the file is the process, the second one the socket
        return Path((data / "lock").read_text(encoding="utf-8").splitlines()[1])
    except (OSError, IndexError, UnicodeDecodeError):
        return default
