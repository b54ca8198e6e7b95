"""Signs, verifies and prints JSON with the reference library and Python itself: one JSON request a line, one answer a line."""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks import Webhook, WebhookVerificationError


def answer(request):
    if request["do"] == "canonical":
        return json.dumps(json.loads(request["text"]), sort_keys=True)
    webhook = Webhook(request["secret"])
    if request["do"] == "sign":
        at = datetime.fromtimestamp(request["timestamp"], tz=timezone.utc)
        return webhook.sign(request["id"], at, request["body"])
    try:
        webhook.verify(request["body"].encode(), request["headers"], json_parse=False)
        return "accepted"
    except WebhookVerificationError as error:
        return str(error)


for line in sys.stdin.buffer:
    print(json.dumps(answer(json.loads(line))))
