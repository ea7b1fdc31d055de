"""boto3 keeps every rule of the conformance suite, and its table of reads is true."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import botocore.session
import pytest

import countermand
import countermand.sync
from countermand.integrations._http import aws
from countermand.integrations.boto3 import permit_client
from countermand.testing import Sidecar, sidecar
from countermand.testing.conformance import Conformance
from tests.integrations.http.clients import Boto3
from tests.integrations.http.opened import on_record, sending
from tests.integrations.http.seam import seam_of
from tests.integrations.http.target import Target, serving


class TestBoto3(Conformance):
    seam = seam_of(Boto3)


def test_every_read_in_the_table_is_an_operation_of_aws() -> None:
    """By the names that botocore itself has, and so do those of services that nobody looked up."""
    session = botocore.session.get_session()
    services = {one.partition(".")[0] for one in aws.READS}
    models = {
        model.service_id.hyphenize(): model
        for name in session.get_available_services()
        if name in {"cloudwatch", "logs", *services, "secretsmanager"}
        for model in [session.get_service_model(name)]
    }
    assert services <= models.keys()
    known = {f"{service}.{name}" for service in services for name in models[service].operation_names}
    assert aws.READS - known == set()


async def test_an_operation_that_is_not_in_the_table_is_a_write() -> None:
    """However it is named, and by whatever method it goes: unless the caller knows better."""
    options = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    with serving() as target:
        closed = boto3.client("s3", endpoint_url=target.url, **options)
        permit_client(closed)
        with pytest.raises(countermand.NoGrant):
            closed.list_bucket_inventory_configurations(Bucket="b")
        once = botocore.config.Config(retries={"total_max_attempts": 1})
        opened = boto3.client("s3", endpoint_url=target.url, config=once, **options)
        permit_client(opened, also_reads=["s3.ListBucketInventoryConfigurations"])
        with suppress(botocore.exceptions.ClientError):  # the target speaks no XML
            opened.list_bucket_inventory_configurations(Bucket="b")
        assert [seen.method for seen in target.seen] == ["GET"]


async def test_an_error_that_comes_with_a_200_is_one(real: Sidecar, target: Target) -> None:
    """S3 says so in the body; a batch may be done in part."""
    async with sending(Boto3, target.url, real) as (sender, run):
        assert await sender.send("PUT", "xml", "broken", body=b"x") == 500
        deleted = {"Errors": [{"Key": "k"}], "ResponseMetadata": {"HTTPStatusCode": 200}}
        client: Any = sender.client  # type: ignore[attr-defined]
        client.meta.events.register_first(
            "response-received.s3.DeleteObjects", lambda parsed_response, **_: parsed_response.update(deleted)
        )
        with suppress(botocore.exceptions.ClientError):
            await asyncio.to_thread(client.delete_objects, Bucket="ok", Delete={"Objects": [{"Key": "k"}]})
        actions = await on_record(run)
    assert [one.state for one in actions] == ["UNKNOWN", "UNKNOWN"]
    assert [one.note.partition(":")[0] for one in actions] == ["HTTP 500", "done in part"]


async def test_one_client_under_grants_of_two_stores(real: Sidecar, target: Target) -> None:
    """Each counts its permits from one, so two attempts may have one number; each has its own outcome."""
    signed = Barrier(2)

    def write(client: Any, what: str, run: countermand.sync.ActiveRun) -> None:
        with run.grant(scopes=["*"]), suppress(botocore.exceptions.HTTPClientError):
            client.put_object(Bucket=what, Key="two", Body=b"x")

    with sidecar() as one, sidecar() as another, ThreadPoolExecutor(2) as pool:
        async with sending(Boto3, target.url, one) as (sender, _):
            client: Any = sender.client  # type: ignore[attr-defined]
            client.meta.events.register_first("before-send", lambda **_: (signed.wait(30), None)[1])
            with (
                one.connect_sync() as first,
                another.connect_sync() as second,
                second.open_run(agent="so that both stores have as many entries"),
                first.open_run(agent="a") as run,
                second.open_run(agent="b") as other,
            ):
                both = [pool.submit(write, client, *told) for told in (("drop", run), ("ok", other))]
                for each in both:
                    await asyncio.to_thread(each.result, 60)
                [lost], [done] = run.report().unknown, other.report().done
    assert lost.fence == done.fence
    assert {seen.what for seen in target.of("two")} == {"drop", "ok"}


async def test_a_proxy_that_takes_a_write_and_hangs_up_leaves_it_unknown(
    real: Sidecar, target: Target
) -> None:
    """botocore calls that a proxy which it could not connect to."""

    class Through(Boto3):
        proxies = {"http": target.url}  # noqa: RUF012 - nobody changes it

    async with sending(Through, "http://drop.example", real) as (sender, run):
        with pytest.raises(botocore.exceptions.ProxyConnectionError):
            await sender.send("PUT", "drop", "hung-up", body=b"x")
        [action] = await on_record(run)
    assert (len(target.of("hung-up")), action.state) == (1, "UNKNOWN")


async def test_what_others_do_to_a_request_lets_no_write_out(real: Sidecar, target: Target) -> None:
    """Who adds a number finds it replaced; whoever takes ours away before it is sent is refused."""
    async with sending(Boto3, target.url, real) as (sender, run):
        events = sender.client.meta.events  # type: ignore[attr-defined]
        events.register_first(
            "before-sign", lambda request, **_: request.headers.add_header("Countermand-Fence", "0")
        )
        assert await sender.send("PUT", "ok", "numbered", body=b"x") == 200
        events.register_first(
            "before-send", lambda request, **_: request.headers.__delitem__("Countermand-Fence")
        )
        with pytest.raises(countermand.FixTheCall, match="without having been signed under a permit"):
            await sender.send("PUT", "ok", "unsigned", body=b"x")
        done, refused = await on_record(run)
    assert [seen.headers.get_all("countermand-fence") for seen in target.of("numbered")] == [
        [str(done.fence)]
    ]
    assert (refused.state, target.of("unsigned")) == ("FAILED", [])


async def test_a_client_passes_once(real: Sidecar, target: Target) -> None:
    """To ask twice for one effect would put two on record."""
    async with sending(Boto3, target.url, real) as (sender, _):
        permit_client(sender.client)  # type: ignore[attr-defined]
        with pytest.raises(countermand.FixTheCall, match="twice"):
            await sender.send("PUT", "ok", "twice", body=b"x")
    assert target.of("twice") == []


def test_a_url_that_is_only_signed_asks_nobody() -> None:
    """Nothing is sent."""
    options = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = permit_client(boto3.client("s3", **options))
    assert client.generate_presigned_url("put_object", Params={"Bucket": "b", "Key": "k"})


def test_what_cannot_be_signed_is_on_record_as_not_sent(
    real: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permit was there, and the credentials were not."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    client = permit_client(boto3.client("s3", region_name="eu-central-1", endpoint_url="http://127.0.0.1:9"))
    with real.connect_sync() as cm, cm.open_run(agent="clerk") as run:
        with run.grant(scopes=["*"]), pytest.raises(botocore.exceptions.NoCredentialsError):
            client.put_object(Bucket="b", Key="k", Body=b"x")
        [action] = run.report().not_done
    assert (action.state, action.note) == ("FAILED", "not sent: NoCredentialsError")
