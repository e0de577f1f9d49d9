#!/usr/bin/env python3
"""Mobile nodes that bootstrap again and again, each soon after it has been answered or cut off.

Reads one JSON document {"host", "port", "ca", "name", "most", "nodes": [{"mn_id", "psk", "suite",
"sas"}]} in a line, then bootstraps until standard input ends, each `most` times at most. For each SA
one line with what the mobile node was told; at the end one with how often an exchange was broken off,
and how often nobody listened.
"""

import json
import pathlib
import ssl
import sys
import threading
import time
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "peers/python"))
import peer  # noqa: E402, the mobile node that knows only the RFC

PAUSE = 0.04  # seconds
ended = threading.Event()
writing = threading.Lock()
tally = {"broken": 0, "refused": 0}


def say(document):
    with writing:
        print(json.dumps(document), flush=True)


def once(args, context):
    try:
        stream = peer.connect(args, context)
    except (ConnectionRefusedError, ConnectionResetError):
        tally["refused"] += 1
        time.sleep(0.01)
        return 0
    with stream:
        headers = peer.bootstrap(args, stream)
    assert headers["status-code"] == ["200"], headers["status-code"]
    peer.check_success(args, headers)
    say({"mn_id": args.mn_id} | {name: values[0] for name, values in headers.items()})
    return 1


def live(args):
    context = ssl.create_default_context(cafile=args.ca)
    left = args.most
    while left and not ended.is_set():
        try:
            left -= once(args, context)
        except (OSError, SystemExit):
            # Killed in the middle: TLS or TCP ends early. There may be an SA that nobody was told of.
            tally["broken"] += 1
            left -= 1
        # Else a fast machine has done all of it in the first of the HAC's lives.
        time.sleep(PAUSE)


def main():
    work = json.loads(sys.stdin.readline())
    threads = []
    for node in work["nodes"]:
        args = types.SimpleNamespace(
            host=work["host"], port=work["port"], ca=work["ca"], name=work["name"],
            mn_id=node["mn_id"], psk=node["psk"], suites=[node["suite"]], sas=node["sas"],
            most=work["most"], hash="sha256", wrong_binding=False)
        threads.append(threading.Thread(target=live, args=(args,), daemon=True))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    say(tally)


if __name__ == "__main__":
    main()
