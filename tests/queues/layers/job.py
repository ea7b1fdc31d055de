"""What the worker on the other machine does: a row and a mail, each under a permit by the job's grant."""

import os

ACTION = "late.work"
#: What the job does beside being done.
SCOPES = ("rows.write row:*", "http.post http://*")


def resource(key: str) -> str:
    """Name what it is about."""
    return f"job:{key}"


def late(key: str) -> str:
    """Write and mail."""
    import httpx  # whoever only enqueues it, or tests something else with the same worker, is soon ready
    from sqlalchemy import create_engine

    from countermand.integrations.httpx import PermitTransport
    from tests.queues.layers import rows

    engine = create_engine(os.environ["QUEUE_DATABASE"])
    with rows.sessions(engine).begin() as session:
        rows.stage(session, key)
    engine.dispose()
    with httpx.Client(transport=PermitTransport(), timeout=60) as client:
        client.post(f"{os.environ['QUEUE_MAILS']}/ok/{key}").raise_for_status()
    return key
