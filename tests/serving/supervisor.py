"""`python -m tests.serving.supervisor FILE JSON`: gives a socket to one service after another, as systemd does.

The number of each service's process is written to FILE.pid.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from tests.serving.program import answer

if __name__ == "__main__":
    given = Path(sys.argv[1])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        os.dup2(listener.fileno(), 3)

        for _ in range(2):
            process = os.fork()
            if process == 0:
                listener.detach()  # it may be the descriptor that the service takes
                os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
                answer(given, json.loads(sys.argv[2]))
                sys.exit(0)
            given.with_suffix(".pid").write_text(str(process), encoding="ascii")
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            if code != 0:
                sys.exit(code)
