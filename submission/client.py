"""A run on a KFP server: reach it, start it once, and say in one line what went wrong."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from roomseg.cluster import KfpServer
from roomseg.errors import UserError
from roomseg.runtime.kfp_api import kfp_api
from roomseg.runtime.web import Refused, Silent

# Pauses between tries while the server is busy, starts, or breaks connections off.
AT_THE_START_S = (1, 2, 4, 8)
WATCHING_S = (*AT_THE_START_S, *[15] * 40)
T = TypeVar("T")


class Kfp:
    """The part of the KFP API that a run needs. Every method raises ``UserError``."""

    def __init__(self, server: KfpServer) -> None:
        self.server = server
        self.name = f"--host {server.host}" if server.host else f"--kubeconfig {server.kubeconfig}"
        self._check_health()
        with self._errors():
            self._client = _open_client(server)

    def start(self, package: Path, run_name: str) -> str:
        """Start a run of a compiled pipeline; returns its id. A run that an earlier try has started is adopted."""
        server = self.server
        with self._errors():
            experiment = self._patiently(
                lambda: self._client.create_experiment(server.experiment, namespace=server.namespace)
            ).experiment_id
            older = self._patiently(lambda: self._runs_named(run_name, experiment))
            tried = False

            def start() -> str:
                nonlocal tried
                started = [run for run in self._runs_named(run_name, experiment) if run not in older] if tried else []
                tried = True
                if started:
                    return started[0]
                run = self._client.run_pipeline(
                    experiment, run_name, str(package), service_account=server.service_account
                )
                return run.run_id

            return self._patiently(start)

    def run(self, run_id: str) -> Any:  # kfp_server_api.V2beta1Run
        """Waits for minutes while the server does not answer: the run goes on meanwhile."""
        with self._errors():
            return self._patiently(lambda: self._client.get_run(run_id), WATCHING_S)

    def _runs_named(self, name: str, experiment_id: str) -> list[str]:
        """Ids, the newest first."""
        same = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        answer = self._client.list_runs(
            experiment_id=experiment_id,
            namespace=self.server.namespace,
            sort_by="created_at desc",
            filter=json.dumps({"predicates": [same]}),
        )
        return [run.run_id for run in answer.runs or []]

    def _check_health(self) -> None:
        """A look before KFP's client, which would try for half a minute and print warnings."""
        get = kfp_api(self.server)
        for wait_s in (*AT_THE_START_S[:-1], None):
            try:
                get("/healthz")
                return
            except Refused as error:
                if error.status < 500 or wait_s is None:
                    raise UserError(f"{self.name}: {self._refusal(error.status, error.reason, error.body)}") from None
                time.sleep(wait_s)
            except Silent as error:
                what = "give the URL of its API" if self.server.host else "is it the right cluster?"
                raise UserError(f"{self.name}: no KFP server answers there ({error}); {what}") from None

    def _patiently(self, call: Callable[[], T], waits_s: Sequence[float] = AT_THE_START_S) -> T:
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        for wait_s in waits_s:
            try:
                return call()
            except ApiException as error:
                if error.status is None or error.status < 500:
                    raise
            except HTTPError:  # refused, reset, silent: a server that starts anew, or a proxy before it
                pass
            time.sleep(wait_s)
        return call()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from kfp_server_api.exceptions import ApiException, ApiTypeError, ApiValueError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            raise UserError(f"{self.name}: {self._refusal(error.status, error.reason, error.body)}") from None
        except (ApiTypeError, ApiValueError) as error:
            raise UserError(f"{self.name}: the server's answer is none of a KFP API server: {error}") from None
        except (HTTPError, TimeoutError) as error:
            raise UserError(f"{self.name}: no KFP server answers there ({type(error).__name__})") from None

    def _refusal(self, status: int | None, reason: str | None, body: bytes | str | None) -> str:
        if not status:  # no answer, but a certificate that does not fit
            return f"no KFP server answers there ({reason})"
        if status == 401 and "expired" in _text(body).lower():
            return "the token has expired (401); get a new one"
        if status == 401:
            remedy = "give a valid token by --token or KFP_TOKEN" if self.server.host else "renew its credentials"
            return f"the server refused us (401); {remedy}"
        if status == 403:
            return f"no right to do this in the run's namespace ({status}): {_message(body)}"
        if status == 404:
            return f"the server answered 404 {reason}; is this the address of a KFP API server?"
        return f"the server answered {status} {reason}: {_message(body)}"


def _open_client(server: KfpServer) -> Any:
    if not server.host:
        from kubernetes.config import kube_config

        # KFP's client takes no path, only kubernetes's default, which is KUBECONFIG as it was at the import.
        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = server.kubeconfig
    warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
    import kfp

    return kfp.Client(
        host=server.host,
        namespace=server.kfp_namespace,
        existing_token=server.token if server.host else None,  # with a token it would look at no kubeconfig
        kube_context=server.kube_context,
    )


def _text(body: bytes | str | None) -> str:
    return body.decode(errors="replace") if isinstance(body, bytes) else body or ""


def _message(body: bytes | str | None) -> str:
    """The first line of what the server says."""
    text = _text(body)
    try:
        values = json.loads(text)
        text = str(values.get("message") or values.get("error") or text) if isinstance(values, dict) else text
    except ValueError:
        pass
    return " ".join(text.split())[:300] or "without a reason"
