#!/usr/bin/env python3
"""Runs the real AKTools on a free loopback port, over `stub/akshare`, and prints its address.

Start it in a folder of its own: AKTools writes its log where it is started."""

import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "stub"))

import uvicorn
from aktools.main import app

listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
