"""A process in the place of the one that decodes, as if a picture had taken it over: it answers with the file."""

import json
import sys
import time

request = json.loads(sys.stdin.buffer.readline())
sys.stdout.buffer.write(sys.stdin.buffer.read(request["bytes"]))
sys.stdout.buffer.flush()
time.sleep(600)
