#!/usr/bin/env python3
"""Asks the real AKTools and a mirror the same odd questions and expects the same status, type and body.

    compare_aktools.py --real http://127.0.0.1:8080 --mirror http://127.0.0.1:8081
"""

import argparse
import http.client
import json
import sys
import urllib.parse

HIST = "/api/public/stock_zh_a_hist"

# Method, target as it goes over the wire, headers, body.
QUESTIONS = [
    ("GET", "/api/public/no_such_function", {}, None),
    ("GET", "/api/public/no_such_function?a=1", {}, None),
    ("GET", f"{HIST}?symbol=999999&period=daily", {}, None),
    ("GET", f"{HIST}?symbol=999999&&period=daily&", {}, None),
    ("GET", f"{HIST}?symbol=999999&adjust=", {}, None),
    ("GET", f"{HIST}?symbol=999999%26period%3Ddaily", {}, None),
    ("GET", f"{HIST}?period=hourly", {}, None),
    ("GET", f"{HIST}?period=%E5%B9%B4", {}, None),
    ("GET", f"{HIST}?period=two+words", {}, None),
    ("GET", f"{HIST}?period=two%20words", {}, None),
    ("GET", f"{HIST}?period=two%2Bwords", {}, None),
    ("GET", f"{HIST}?adjust=wrong", {}, None),
    ("GET", f"{HIST}?code=000001", {}, None),
    ("GET", f"{HIST}?symbol=%22000001%22", {}, None),
    ("GET", f"{HIST}?symbol=a%3Db", {}, None),
    ("GET", f"{HIST}?symbol=a%26b", {}, None),
    ("GET", f"{HIST}?symbol=1&symbol=2", {}, None),
    ("GET", f"{HIST}?start_date=yesterday", {}, None),
    ("GET", "/api/public/stock_individual_info_em?symbol=999999", {}, None),
    ("GET", "/api/public/stock_yjbb_em?date=19000101&cookie=1", {}, None),
    ("GET", "/api/private/stock_info_a_code_name", {}, None),
    ("GET", "/api/private/no_such_function", {"Authorization": "Bearer wrong"}, None),
    ("GET", "/api/private/no_such_function", {"Authorization": "Bearer akshare"}, None),
    ("GET", "/api/nowhere", {}, None),
    ("POST", HIST, {}, b""),
    ("POST", "/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, b"username=akshare&password=akfamily"),
    ("POST", "/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, b"username=akshare&password=wrong"),
    ("POST", "/auth/token", {"Content-Type": "application/x-www-form-urlencoded"}, b"username=me&password=akfamily"),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", required=True)
    parser.add_argument("--mirror", required=True)
    arguments = parser.parse_args()
    wrong = 0
    for question in QUESTIONS:
        real, mirror = (ask(url, *question) for url in (arguments.real, arguments.mirror))
        if real != mirror:
            wrong += 1
            print(f"WRONG {question[0]} {question[1]}\n  real   {real}\n  mirror {mirror}")
    raw, own = raw_bytes(arguments.real), raw_bytes(arguments.mirror)
    if raw != own:
        wrong += 1
        print(f"WRONG bytes outside of ASCII: real {raw}, mirror {own}")
    print(f"{len(QUESTIONS) + 1 - wrong} alike, {wrong} not")
    sys.exit(1 if wrong else 0)


def ask(url, method, target, headers, body):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
    connection.request(method, target, body=body, headers=headers)
    response = connection.getresponse()
    text = response.read().decode()
    kind = response.headers.get_content_type()
    return response.status, kind, json.loads(text) if kind == "application/json" else text


def raw_bytes(url):
    """The status of a question with bytes that should have been encoded."""
    import socket

    host, port = urllib.parse.urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"GET {HIST}?period=年 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(65536).split(b"\r\n")[0].split()[1].decode()


if __name__ == "__main__":
    main()
