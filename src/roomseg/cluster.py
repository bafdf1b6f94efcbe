"""Where the stages run in a Kubernetes cluster: server, images and pods. Nothing here changes what comes out.

The values come from a TOML file, by default ``~/.config/roomseg.toml``; what it leaves out is as below::

    [kfp]
    host = "https://kfp.example.org"
    namespace = "perception"

    [images]
    train = "registry.example.org/roomseg/train@sha256:..."

    [pods.all]                      # every stage
    secrets = [{name = "roomseg-s3", env = {access-key = "AWS_ACCESS_KEY_ID", secret-key = "AWS_SECRET_ACCESS_KEY"}}]

    [pods.teacher]                  # one stage
    gpus = 4

    [quota]                         # what the namespace may use at a time; --plan and --submit warn of what waits
    gpus = 4

    [quota.pools.a100]              # and which nodes there are
    nodes = 2
    cpu = "32"
    memory = "240Gi"
    gpus = 4
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

import roomseg
from roomseg.config import Count, Positive, Section, error_line
from roomseg.errors import UsageError

DEFAULT_FILE = Path("~/.config/roomseg.toml")
_UNITS = {"": 1.0, "m": 1e-3}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate("kMGTP", 1)}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTP", 1)}
_CACHED = 0.7  # so much of an emptyDir is for the cache: a pod that fills its emptyDir is evicted


def _something(text: str) -> str:
    if not re.search("[1-9]", text):
        raise ValueError(f"got {text!r}; expected more than nothing")
    return text


def _cores(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?m?", text, re.ASCII):
        raise ValueError(f"got {text!r}; expected cores, such as 8, 0.5 or 500m")
    return _something(text)


def _whole_bytes(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(Ki|[MGTP]i?)?", text, re.ASCII):
        raise ValueError(f"got {text!r}; expected a whole number of bytes, Mi, Gi or the like, such as 16Gi or 1536Mi")
    return _something(text)


def _image(name: str) -> str:
    if not re.fullmatch(r"[\w.-]+(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", name, re.ASCII):
        raise ValueError(f"got {name!r}; expected an image, such as registry.example.org/train@sha256:(64 hex digits)")
    return name


# As Kubernetes takes them
Quantity = Annotated[  # such as 500m, 8 and 16Gi
    str,
    Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|[MGTP]i?)?$"),
    AfterValidator(_something),
]
Cores = Annotated[str, AfterValidator(_cores)]  # of a pod: less than Kubernetes takes, as KFP does
WholeBytes = Annotated[str, AfterValidator(_whole_bytes)]
LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"),
]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
Variable = Annotated[str, Field(pattern=r"^[-._A-Za-z][-._A-Za-z0-9]*$")]
Name = Annotated[str, Field(min_length=1)]
Image = Annotated[str, AfterValidator(_image)]
TASKS = ("render", "render_part", "teacher", "pretrain", "distill", "evaluate", "gate", "register", "finish")
TRAINING = ("teacher", "pretrain", "distill")  # may run on several nodes


def quantity(text: str) -> float:
    """Of bytes or cores."""
    number = text.rstrip("".join(_UNITS))
    return float(number) * _UNITS[text[len(number) :]]


class KfpServer(Section):
    """How to reach the KFP API: by its URL, with a token if it asks for one, or through a kubeconfig."""

    host: str | None = None
    token: str | None = Field(None, repr=False)
    kubeconfig: str | None = None
    kube_context: str | None = None  # null: the kubeconfig's current one
    kfp_namespace: str = "kubeflow"  # where the server runs, for kubeconfig
    namespace: str | None = None  # of the run; null: the server has no users of its own
    experiment: str = "roomseg"
    run_name: str | None = None  # null: profile and time
    service_account: str | None = None  # of the pods; null: the server's default


class Images(Section):
    render: Image = f"ghcr.io/roomseg/render:{roomseg.__version__}"
    train: Image = f"ghcr.io/roomseg/train:{roomseg.__version__}"

    def tags(self) -> list[str]:
        """Those whose content may change: not by digest."""
        return [image for image in (self.render, self.train) if not re.search(r"@sha256:[0-9a-f]{64}$", image)]


class FanOut(Section):
    shards: Positive = 16  # of render; 1: one pod does it all
    parallelism: Positive = 8  # so many pods at a time


class Toleration(Section):
    key: str | None = None  # null: of every taint
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _kubernetes_takes_it(self) -> Self:
        """Which it would only say when it makes the pod."""
        if self.operator == "Equal" and self.key is None:
            raise ValueError("operator Equal without a key; give the taint's key, or operator Exists")
        if self.operator == "Exists" and self.value:
            raise ValueError(f"operator Exists with the value {self.value!r}; leave it out, or give operator Equal")
        return self


class SecretEnv(Section):
    name: Name  # of a Secret in the run's namespace
    env: dict[Name, Variable]  # key in it -> environment variable


class Pod(Section):
    """The pod of a stage. Requests equal limits: what a stage was measured with is what it gets."""

    cpu: Cores = "4"
    memory: WholeBytes = "16Gi"
    gpus: Count = 0
    nodes: Positive = 1  # of a training stage; several: a TrainJob of so many such pods
    runtime: Name = "torch-distributed"  # ClusterTrainingRuntime of the TrainJob
    gpu_resource: Name = "nvidia.com/gpu"
    node_selector: dict[LabelKey, LabelValue] = Field({})
    tolerations: tuple[Toleration, ...] = ()
    labels: dict[LabelKey, LabelValue] = Field({})
    env: dict[Variable, str] = Field({})
    secrets: tuple[SecretEnv, ...] = ()  # none where the service account has a role of its own (IRSA)
    scratch: Quantity = "50Gi"  # for the cache of the store
    scratch_class: str | None = None  # storage class of an ephemeral volume for it; null: the node's own disk
    shm: Quantity | None = None  # /dev/shm, in memory; counts towards ``memory``
    retries: Count = 5

    @property
    def cache_gb(self) -> float:
        """Of scratch. An emptyDir shows the free space of the whole node, so that its own limit must be told."""
        return quantity(self.scratch) / 1e9 * (_CACHED if self.scratch_class is None else 1)


_GPU_TAINT = Toleration(key="nvidia.com/gpu", effect="NoSchedule")
_GPU = {"cpu": "8", "memory": "32Gi", "gpus": 1, "shm": "8Gi", "tolerations": (_GPU_TAINT,)}
_SMALL = {"cpu": "1", "memory": "4Gi", "scratch": "5Gi"}
_PODS: dict[str, dict[str, Any]] = {
    "render": {"cpu": "8", "memory": "16Gi"},
    "render_part": {"cpu": "8", "memory": "16Gi"},
    "teacher": _GPU,
    "pretrain": _GPU,
    "distill": _GPU,
    "evaluate": _GPU,
    "gate": _SMALL,
    "register": _SMALL,
    "finish": _SMALL,
}


class Pool(Section):
    """Nodes that are alike; what a pod may use of one of them."""

    nodes: Positive = 1  # at most, where it grows by itself
    cpu: Quantity
    memory: Quantity
    gpus: Count = 0
    labels: dict[str, str] = Field({})  # what a pod's ``node_selector`` asks for


class Quota(Section):
    """What the run may use at a time, so that a plan can say what will wait or never start; null, none: not known."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    gpus: Count | None = None
    pools: dict[str, Pool] = Field({})


class ClusterConfig(Section):
    kfp: KfpServer = KfpServer()
    images: Images = Images()
    render: FanOut = FanOut()
    quota: Quota = Quota()
    pods: dict[str, dict[str, Any]] = Field({})  # "all" or a task -> fields of its Pod

    @model_validator(mode="after")
    def _pods_make_sense(self) -> Self:
        unknown = set(self.pods) - {"all", *TASKS}
        if unknown:
            raise ValueError(f"pods.{min(unknown)}: expected all, {', '.join(TASKS)}")
        for task in TASKS:
            try:
                pod = self.pod(task)
            except ValidationError as error:
                raise ValueError(f"pods.{task}: {error_line(error)}") from None
            if pod.nodes > 1 and task not in TRAINING:
                raise ValueError(f"pods.{task}.nodes: got {pod.nodes}; only {', '.join(TRAINING)} run on several")
        return self

    def changed(self, said: dict[str, dict[str, str | None]]) -> ClusterConfig:
        """With other values in some tables: those of a command line. What is None was not said.

        Raises ``UsageError``.
        """
        values = self.model_dump()
        for table, changes in said.items():
            values[table].update({name: value for name, value in changes.items() if value is not None})
        try:
            return ClusterConfig.model_validate(values)
        except ValidationError as error:
            raise UsageError(error_line(error)) from None

    def pod(self, task: str) -> Pod:
        """The defaults of a task, changed by ``pods.all``, then by its own table; tables in them are joined."""
        values = dict(_PODS[task])
        for changes in (self.pods.get("all", {}), self.pods.get(task, {})):
            for name, value in changes.items():
                both = isinstance(value, dict) and isinstance(values.get(name), dict)
                values[name] = {**values[name], **value} if both else value
        return Pod.model_validate(values)


def read_cluster(path: Path | None) -> ClusterConfig:
    """The cluster's file; without a path ``DEFAULT_FILE`` if it is there, else the defaults. Raises ``UsageError``."""
    chosen = path or DEFAULT_FILE.expanduser()
    if path is None and not chosen.exists():
        return ClusterConfig()
    try:
        values = tomllib.loads(chosen.read_text())
    except OSError as error:
        raise UsageError(f"{chosen}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{chosen} is no valid TOML: {error}") from None
    try:
        return ClusterConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{chosen}: {error_line(error)}") from None
