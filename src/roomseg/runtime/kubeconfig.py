"""The Kubernetes API through a kubeconfig, as ``--submit`` and ``roomseg doctor`` reach it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from roomseg.errors import UsageError
from roomseg.runtime.web import Refused, Silent, json_object

TIMEOUT_S = 15


class KubernetesApi:
    """``given`` is a file, or several with ``:`` between them, which are merged as kubectl merges KUBECONFIG."""

    def __init__(self, given: str, context: str | None) -> None:
        """Raises ``UsageError``."""
        from kubernetes import client

        settings = _configuration(given, context)
        settings.retries = 1
        self._client = client.ApiClient(settings)

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The answer; raises ``Refused`` and ``Silent``."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.call_api(
                path, method, body=body, auth_settings=["BearerToken"], _preload_content=False,
                _request_timeout=TIMEOUT_S,
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
            )[0]  # fmt: skip
        except ApiException as error:
            if not error.status:  # no answer, but a certificate that does not fit
                raise Silent(str(error.reason)) from None
            raise Refused(error.status, str(error.reason), dict(error.headers or {}), _bytes(error.body)) from None
        except HTTPError as error:
            raise Silent(type(error).__name__) from None
        return json_object(answer.data)


def _configuration(given: str, context: str | None) -> Any:
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    paths = [os.path.expanduser(path) for path in given.split(os.pathsep) if path]
    there = [Path(path) for path in paths if os.path.exists(path)]  # kubectl does without those that are not
    if not there:
        raise UsageError(f"--kubeconfig {given}: no such file")
    for path in there:
        _check_shape(path)
    settings = client.Configuration()
    try:
        config.load_kube_config(given, context=context, client_configuration=settings, persist_config=False)
    except ConfigException as error:
        raise UsageError(f"--kubeconfig {given}: {error}") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        # The loader takes values as they come: a list where it expects a table ends in any of these.
        raise UsageError(f"--kubeconfig {given} is no kubeconfig ({type(error).__name__}: {error})") from None
    return settings


def _check_shape(path: Path) -> None:
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.MarkedYAMLError as error:  # whose own text quotes lines of the file, where keys are
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"--kubeconfig {path} is no valid YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"--kubeconfig {path} is no YAML text") from None
    except OSError as error:
        raise UsageError(f"--kubeconfig {path}: cannot be read ({error.strerror})") from None
    if not isinstance(values, dict):
        raise UsageError(f"--kubeconfig {path} is no kubeconfig: expected a YAML table with clusters and contexts")


def _bytes(body: str | bytes | None) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""
