"""Inside the cloud's container: exit 0 when /health answers 200."""

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "80")), timeout=4)
connection.request("GET", "/health")
sys.exit(0 if connection.getresponse().status == http.client.OK else 1)
