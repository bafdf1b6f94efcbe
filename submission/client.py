"""A run on a KFP server: reach it, start it once, and say in one line what went wrong."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from roomseg.cluster import KfpServer
from roomseg.errors import UsageError, UserError

TRIES = 5  # of a call that a busy or starting server answers with 5xx
T = TypeVar("T")


class Kfp:
    """The part of the KFP API that a run needs. Every method raises ``UserError``."""

    def __init__(self, server: KfpServer) -> None:
        self.server = server
        self.name = f"--host {server.host}" if server.host else f"--kubeconfig {server.kubeconfig}"
        if server.host:
            _check_healthz(server.host, server.token)
        with self._errors():
            self._client = _open_client(server)

    def start(self, package: Path, run_name: str) -> str:
        """Start a run of a compiled pipeline; returns its id. A run that an earlier try has started is adopted."""
        server = self.server
        with self._errors():
            experiment = self._patiently(
                lambda: self._client.create_experiment(server.experiment, namespace=server.namespace)
            ).experiment_id
            tried = False

            def start() -> str:
                nonlocal tried
                started = self._run_named(run_name, experiment) if tried else None
                tried = True
                if started is not None:
                    return started
                run = self._client.run_pipeline(
                    experiment, run_name, str(package), service_account=server.service_account
                )
                return run.run_id

            return self._patiently(start)

    def run(self, run_id: str) -> Any:  # kfp_server_api.V2beta1Run
        with self._errors():
            return self._patiently(lambda: self._client.get_run(run_id))

    def _run_named(self, name: str, experiment_id: str) -> str | None:
        same = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        answer = self._client.list_runs(
            experiment_id=experiment_id, namespace=self.server.namespace, filter=json.dumps({"predicates": [same]})
        )
        return answer.runs[0].run_id if answer.runs else None

    def _patiently(self, call: Callable[[], T]) -> T:
        from kfp_server_api.exceptions import ApiException

        for wait_s in (1, 2, 4, 8)[: TRIES - 1]:
            try:
                return call()
            except ApiException as error:
                if error.status is None or error.status < 500:
                    raise
                time.sleep(wait_s)
        return call()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from kfp_server_api.exceptions import ApiException, ApiTypeError, ApiValueError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            raise UserError(f"{self.name}: {_refusal(error.status, error.reason, error.body)}") from None
        except (ApiTypeError, ApiValueError) as error:
            raise UserError(f"{self.name}: the server's answer is none of a KFP API server: {error}") from None
        except HTTPError as error:
            raise UserError(f"{self.name}: no KFP server answers there ({type(error).__name__})") from None


def _open_client(server: KfpServer) -> Any:
    if not server.host:
        from kubernetes.config import kube_config

        # KFP's client takes no path, only kubernetes's default, which is KUBECONFIG as it was at the import.
        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = _existing_kubeconfig(server)
    warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
    import kfp

    return kfp.Client(
        host=server.host,
        namespace=server.kfp_namespace,
        existing_token=server.token,
        kube_context=server.kube_context,
    )


def _existing_kubeconfig(server: KfpServer) -> str:
    assert server.kubeconfig is not None
    path = Path(server.kubeconfig).expanduser()
    if not path.is_file():
        raise UsageError(f"--kubeconfig {path}: no such file")
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    try:
        config.load_kube_config(str(path), context=server.kube_context)
    except ConfigException as error:
        raise UsageError(f"--kubeconfig {path}: {error}") from None
    return str(path)


def _check_healthz(host: str, token: str | None) -> None:
    """A look before KFP's client, which would try for half a minute and print warnings."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{host.rstrip('/')}/apis/v2beta1/healthz"
    for wait_s in (1, 2, 4, None):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
                json.load(answer)
                return
        except urllib.error.HTTPError as error:
            if error.code < 500 or wait_s is None:
                raise UserError(f"--host {host}: {_refusal(error.code, error.reason, error.read())}") from None
            time.sleep(wait_s)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise UserError(f"--host {host}: no KFP server answers there ({reason})") from None
        except ValueError:
            raise UserError(
                f"--host {host}: what answers there is no KFP API server; give the URL of its API"
            ) from None


def _refusal(status: int | None, reason: str | None, body: bytes | str | None) -> str:
    if status == 401 and "expired" in _text(body).lower():
        return "the token has expired (401); get a new one"
    if status == 401:
        return "the server refused us (401); give a valid token by --token or KFP_TOKEN"
    if status == 403:
        return f"no right to do this in the run's namespace ({status}): {_message(body)}"
    if status == 404:
        return f"the server answered 404 {reason}; is this the address of a KFP API server?"
    return f"the server answered {status} {reason}: {_message(body)}"


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
