"""The adapters, each behind the same few words: `send(method, what, key)` answers the status."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import boto3
import botocore.config
import botocore.exceptions
import httpx
import httpx2
import requests

from countermand.integrations import aiohttp as for_aiohttp
from countermand.integrations import boto3 as for_boto3
from countermand.integrations import httpx as for_httpx
from countermand.integrations import httpx2 as for_httpx2
from countermand.integrations import requests as for_requests


class Sender:
    """One HTTP client with its adapter. `options` are the adapter's."""

    name: str
    #: What an action is called for a method.
    action = "http.{}"
    #: How long it waits for an answer, once it has sent its request.
    seconds = 20.0
    #: How it writes, what that is called, and whether it can send any method, body and header.
    method, is_free = "POST", True

    def __init__(self, url: str, **options: Any) -> None:
        self.url, self.options = url, options

    async def open(self) -> None:
        raise NotImplementedError

    async def send(
        self, method: str, what: str, key: str, *, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class _Blocking(Sender):
    client: Any

    async def send(
        self, method: str, what: str, key: str, *, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        return await asyncio.to_thread(self._send, method, f"{self.url}/{what}/{key}", body, headers)

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str] | None) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        self.client.close()


class Httpx(_Blocking):
    name, library, adapter = "httpx", httpx, for_httpx

    async def open(self) -> None:
        transport = self.adapter.PermitTransport(**self.options)
        self.client = self.library.Client(
            transport=transport, timeout=self.library.Timeout(20, read=self.seconds), follow_redirects=True
        )

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str] | None) -> int:
        status: int = self.client.request(method, url, content=body, headers=headers).status_code
        return status


class AsyncHttpx(Sender):
    name, library, adapter = "httpx, async", httpx, for_httpx

    async def open(self) -> None:
        transport = self.adapter.AsyncPermitTransport(**self.options)
        self.client: Any = self.library.AsyncClient(
            transport=transport, timeout=self.library.Timeout(20, read=self.seconds), follow_redirects=True
        )

    async def send(
        self, method: str, what: str, key: str, *, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        url = f"{self.url}/{what}/{key}"
        status: int = (await self.client.request(method, url, content=body, headers=headers)).status_code
        return status

    async def close(self) -> None:
        await self.client.aclose()


class Httpx2(Httpx):
    name, library, adapter = "httpx2", httpx2, for_httpx2


class AsyncHttpx2(AsyncHttpx):
    name, library, adapter = "httpx2, async", httpx2, for_httpx2


class Requests(_Blocking):
    name = "requests"

    async def open(self) -> None:
        self.client = requests.Session()
        self.client.mount("http://", for_requests.PermitAdapter(**self.options))

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str] | None) -> int:
        status: int = self.client.request(
            method, url, data=body, headers=headers, timeout=(20, self.seconds)
        ).status_code
        return status


class Aiohttp(Sender):
    name = "aiohttp"

    async def open(self) -> None:
        inner = self.options.pop("inner", [])
        middlewares = [for_aiohttp.permit_middleware(**self.options), *inner]
        timeout = aiohttp.ClientTimeout(sock_read=self.seconds)
        self.client = aiohttp.ClientSession(middlewares=middlewares, timeout=timeout)

    async def send(
        self, method: str, what: str, key: str, *, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        url = f"{self.url}/{what}/{key}"
        async with self.client.request(method, url, data=body or None, headers=headers) as response:
            await response.read()
            return response.status

    async def close(self) -> None:
        await self.client.close()


class Boto3(_Blocking):
    """S3, with the first segment for a bucket."""

    name, action, method, is_free = "boto3", "aws.s3.{}_object", "PUT", False
    attempts = 1
    proxies: dict[str, str] | None = None

    async def open(self) -> None:
        config = botocore.config.Config(
            retries={"total_max_attempts": self.attempts, "mode": "standard"},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            read_timeout=self.seconds,
            proxies=self.proxies,
        )
        credentials = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-central-1"}
        client = boto3.client("s3", endpoint_url=self.url, config=config, **credentials)
        self.client = for_boto3.permit_client(client, **self.options)

    def _send(self, method: str, url: str, body: Any, headers: Mapping[str, str] | None) -> int:
        bucket, key = url.removeprefix(self.url).split("/", 2)[1:]
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if method == "PUT":
            asked["Body"] = body
        try:
            answer = getattr(self.client, f"{method.lower()}_object")(**asked)
            if method == "GET":
                answer["Body"].read()
        except botocore.exceptions.ClientError as error:
            answer = error.response
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status


SENDERS: list[type[Sender]] = [Httpx, AsyncHttpx, Httpx2, AsyncHttpx2, Requests, Aiohttp, Boto3]
