"""Reports of a job process to curfew, over HTTP. The framework tells curfew neither of an exception nor of a dialled phone."""

import json
import threading
import time
import urllib.request

from . import own, say

#: A restart of curfew takes some seconds. Until the main process has connected again, curfew answers 503.
BOUND_SECONDS = 30


class Job:
    """The job of this process. Each report has all that is known, because an earlier report may still wait for curfew."""

    dialled = False


def report(job_id, error):
    """Begins the report and returns its thread. The framework must not wait for it."""
    sender = threading.Thread(target=_send, args=(job_id, error), name="curfew-report", daemon=True)
    sender.start()
    return sender


def _send(job_id, error):
    body = json.dumps({"jobId": job_id, "status": "JS_RUNNING", "error": error}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + BOUND_SECONDS
    while True:
        headers = {"authorization": "Bearer " + own.own_token(), "content-type": "application/json"}
        if Job.dialled:
            headers["x-curfew-dialled"] = "1"
        request = urllib.request.Request("%s/curfew/job" % own.URL.replace("ws", "http", 1), body, headers)
        try:
            opener.open(request, timeout=5).close()
            return
        except OSError as failure:
            if time.monotonic() > until:
                return say("curfew did not take a report of the job: %s" % failure)
        time.sleep(1)
