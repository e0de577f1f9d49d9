"""Runs a program in a terminal of 80 by 24 and types when it shows something.

`terminal.py COMMAND...` reads lines of JSON: {"wait": TEXT, "type": KEYS} types KEYS (or sends the signal
"signal") once TEXT has been shown since the last one. Prints everything that the program wrote, and ends
with its exit status; with 99 where a text does not come within 20 s.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def main():
    steps = [json.loads(line) for line in sys.stdin]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(sys.argv[1], sys.argv[1:])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    shown, since, end = b"", b"", time.monotonic() + 20
    while True:
        if steps and steps[0]["wait"].encode() in since:
            step, since, end = steps.pop(0), b"", time.monotonic() + 20
            if "signal" in step:
                os.kill(pid, getattr(signal, step["signal"]))
            else:
                os.write(terminal, step["type"].encode())
        left = end - time.monotonic()
        if left < 0:
            os.kill(pid, signal.SIGKILL)
            print(shown.decode(errors="replace"))
            sys.exit(99)
        if not select.select([terminal], [], [], left)[0]:
            continue
        try:
            octets = os.read(terminal, 65536)
        except OSError:
            octets = b""
        if not octets:
            break
        shown, since = shown + octets, since + octets
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


main()
