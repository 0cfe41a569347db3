"""Tells curfew that this job asked LiveKit to dial a phone. The next worker would dial again, so curfew starts none."""

import functools

from . import attempt, has_text, job_report

#: The methods of LiveKit's API that begin a call from this side. kits/node/launch/dialled.mjs has the same ones.
METHODS = ("CreateSIPParticipant", "DialWhatsAppCall", "ConnectTwilioCall")


def adapt(twirp):
    """`twirp`: the module livekit.api.twirp_client."""
    client = twirp.TwirpClient
    request = client.request

    @functools.wraps(request)
    def request_and_note(*args, **kwargs):
        if not job_report.Job.dialled and any(has_text(method, args, kwargs) for method in METHODS):
            job_report.Job.dialled = True
            attempt("dialled", lambda: job_report.report("", ""))
        return request(*args, **kwargs)

    client.request = request_and_note
