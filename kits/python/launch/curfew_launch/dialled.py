"""Tells curfew that this job asked LiveKit to dial a phone. The next worker would dial again, so curfew starts none."""

import functools

from . import job_report


def adapt(twirp):
    """`twirp`: the module livekit.api.twirp_client."""
    client = twirp.TwirpClient
    request = client.request

    @functools.wraps(request)
    def request_and_note(self, service, method, *args, **kwargs):
        if method == "CreateSIPParticipant" and not job_report.Job.dialled:
            job_report.Job.dialled = True
            job_report.report("", "")
        return request(self, service, method, *args, **kwargs)

    client.request = request_and_note
