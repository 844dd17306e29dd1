"""Runs the AWS emulator, MiniStack, on a Unix socket: no web page can open one, and no other user
of the machine can where its folder is private.

Usage: emulator.py SOCKET
"""

import asyncio
import resource
import sys
from http.server import BaseHTTPRequestHandler

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.core import iam_actions

# Seconds that an idle connection is kept; as in MiniStack's own `main`.
KEEP_ALIVE_SECONDS = 75

parse_request = BaseHTTPRequestHandler.parse_request
extract_iam_action = iam_actions.extract_iam_action


def parse_request_of_program(handler):
    """Answers 403 to what only a web browser sends.

    Each execution environment of a function has a Runtime API on a TCP port of its own, which
    authenticates nobody: a web page that guessed the port could take an event from the function.
    """
    if not parse_request(handler):
        return False
    host, port = handler.server.server_address
    browser = "Origin" in handler.headers or "Sec-Fetch-Site" in handler.headers
    if browser or handler.headers.get_all("Host") != [f"{host}:{port}"]:
        handler.send_error(403)
        return False
    return True


def extract_iam_action_of_aws(*request):
    """Returns the action that a policy must allow. The batch calls of SQS have none of their own."""
    action = extract_iam_action(*request)
    if action and action.startswith("sqs:"):
        return action.removesuffix("Batch")
    return action


def main():
    BaseHTTPRequestHandler.parse_request = parse_request_of_program
    iam_actions.extract_iam_action = extract_iam_action_of_aws
    # Each connection of an agent takes a file descriptor; the soft limit is often as low as 256.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass
    from ministack.app import app

    config = Config()
    config.bind = [f"unix:{sys.argv[1]}"]
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    asyncio.run(serve(app, config))


main()
