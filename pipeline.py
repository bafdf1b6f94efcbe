#!/usr/bin/env python
"""The pipeline: its arrows, and the three ways to use it: run it here, compile it, or send it to a cluster."""

import tempfile
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from kfp import compiler, dsl

from components.distill import distill as distill_stage
from components.evaluate import evaluate as evaluate_stage
from components.finish import finish as finish_stage
from components.gate import gate as gate_stage
from components.pretrain import pretrain as pretrain_stage
from components.register import register as register_stage
from components.render import render as render_stage
from components.render_part import render_part as render_part_stage
from components.teacher import teacher as teacher_stage
from roomseg.cli import DEFAULT_STORE, Profile, Settings, Store, TrackingUri, run_command_line, was_given
from roomseg.cluster import ClusterConfig, FanOut, Images, read_cluster
from roomseg.comparisons import comparisons
from roomseg.config import SECTIONS, PipelineConfig, override
from roomseg.errors import UsageError, UserError
from roomseg.models.backbones import check_backbone
from roomseg.planning.estimate import describe as describe_plan
from roomseg.planning.estimate import hindrances
from roomseg.profiles import profile as profile_of
from roomseg.runtime.storage import split_store_url
from submission.client import Kfp
from submission.plan import describe_submission
from submission.pods import place
from submission.tracking import check_tracking_uri, doubt
from submission.watch import watch

# The DAG


def build_pipeline(
    config: PipelineConfig, cluster: ClusterConfig | None, store: str, tracking_uri: str, run_id: str
) -> Callable[..., object]:
    """The KFP pipeline with this configuration as its parameters' defaults; each section is a JSON string.

    Without a cluster there are no pods: stages run as they are, and ``render`` uses all cores in one process group.
    """
    ops = _Components(cluster)
    shards = cluster.render if cluster else FanOut(shards=1)
    sections = {name: config.section(name).model_dump_json() for name in SECTIONS}

    @dsl.pipeline(name="roomseg", description="Indoor 3D semantic segmentation by 2D-to-3D panoramic distillation")
    def roomseg(
        store: str = store,
        tracking_uri: str = tracking_uri,
        run_id: str = run_id,
        render: str = sections["render"],
        teacher: str = sections["teacher"],
        pretrain: str = sections["pretrain"],
        distill: str = sections["distill"],
        evaluate: str = sections["evaluate"],
        register: str = sections["register"],
    ) -> None:
        where = {"store": store, "tracking_uri": tracking_uri, "run_id": run_id}
        with dsl.ExitHandler(ops.finish(store=store, run_id=run_id), name="roomseg"):
            rooms = render_in_parts(ops, shards, config=render, **where)
            segmenter = ops.teacher(config=teacher, rooms=rooms, **where).outputs["segmenter"]
            pretrained = ops.pretrain(config=pretrain, rooms=rooms, **where).outputs["pretrained"]
            both = {"teacher": segmenter, "pretrained": pretrained}
            distilled = ops.distill(config=distill, rooms=rooms, **both, **where).outputs["distilled"]
            compared = train_comparisons(ops, config, both, rooms=rooms, **where)
            models = {**both, "distilled": distilled, **compared}
            evaluation = ops.evaluate(config=evaluate, rooms=rooms, **models, **where).outputs["evaluation"]
            gate = ops.gate(config=register, store=store, tracking_uri=tracking_uri, evaluation=evaluation)
            with dsl.If(gate.outputs["Output"] == "register", name="better-than-the-champion"):
                ops.register(config=register, distilled=distilled, evaluation=evaluation, **where)

    return roomseg


class _Components:
    """Each stage as a KFP component: its image, and its pod."""

    def __init__(self, cluster: ClusterConfig | None) -> None:
        self._cluster = cluster
        images = cluster.images if cluster else Images()
        self.render = self._component("render", render_stage, images.render)
        self.render_part = self._component("render_part", render_part_stage, images.render)
        self.teacher = self._component("teacher", teacher_stage, images.train)
        self.pretrain = self._component("pretrain", pretrain_stage, images.train)
        self.distill = self._component("distill", distill_stage, images.train)
        self.evaluate = self._component("evaluate", evaluate_stage, images.train)
        self.gate = self._component("gate", gate_stage, images.train)
        self.register = self._component("register", register_stage, images.train)
        self.finish = self._component("finish", finish_stage, images.train)

    def _component(self, name: str, stage: Callable, image: str) -> Callable[..., dsl.PipelineTask]:
        component = dsl.component(stage, base_image=image, install_kfp_package=False)
        cluster = self._cluster

        def task(**ports: object) -> dsl.PipelineTask:
            # KFP's own cache is off: run_stage knows what is complete (docs/decisions.md).
            made = component(**ports).set_caching_options(False)
            return place(made, cluster.pod(name), image, cluster.kfp.service_account) if cluster else made

        return task


def render_in_parts(ops: _Components, fan_out: FanOut, **ports: object) -> object:
    """The rooms: by one pod, or by several and collected."""
    if fan_out.shards == 1:
        return ops.render(**ports).outputs["rooms"]
    shards = [f"{i}/{fan_out.shards}" for i in range(1, fan_out.shards + 1)]
    with dsl.ParallelFor(shards, name="render-parts", parallelism=fan_out.parallelism) as shard:
        part = ops.render_part(shard=shard, **ports).outputs["part"]
    return ops.render(parts=dsl.Collected(part), **ports).outputs["rooms"]


def train_comparisons(
    ops: _Components, config: PipelineConfig, both: Mapping[str, object], **ports: object
) -> dict[str, object]:
    """The baselines and ablations of ``evaluate``: trained as the student is, side by side with it."""
    trained = {}
    for each, section in comparisons(config).items():
        if each.stage == "pretrain":
            task, made = ops.pretrain(config=section.model_dump_json(), **ports), "pretrained"
        else:
            task, made = ops.distill(config=section.model_dump_json(), **both, **ports), "distilled"
        trained[each.port] = task.set_display_name(each.task).outputs[made]
    return trained


# Three ways to use it


def run_local(config: PipelineConfig, store: str, tracking_uri: str, verbose: bool) -> None:
    """Run the DAG here, one stage after the other, under KFP's local runner."""
    from kfp import local

    from roomseg.runtime.console import StageOutput
    from roomseg.runtime.summary import print_summary

    root = Path(store) / "kfp" if "://" not in store else Path("roomseg-kfp")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--store {store}: cannot write there ({error.strerror}); choose another folder") from None
    # Images and accelerators are for the cluster; that the local runner leaves them aside is what we want.
    warnings.filterwarnings("ignore", module="kfp.local")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    pipeline = build_pipeline(config, None, store, tracking_uri, config.run_id)
    with StageOutput(root / f"{config.run_id}.log", verbose) as output:
        try:
            pipeline()
        except RuntimeError:
            raise UserError(output.failure()) from None
    print_summary(config, store, tracking_uri)


def compile_to(package: Path, config: PipelineConfig, cluster: ClusterConfig, store: str, tracking_uri: str) -> None:
    if package.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--compile {package}: expected a file that ends in .yaml")
    pipeline = build_pipeline(config, cluster, store, tracking_uri, config.profile)
    try:
        compiler.Compiler().compile(pipeline, str(package))
    except OSError as error:
        raise UserError(f"--compile {package}: {error.strerror}") from None


def submit(
    config: PipelineConfig, cluster: ClusterConfig, store: str, tracking_uri: str, run_name: str, follow: bool
) -> None:
    """Start a run on the cluster's KFP server; with ``follow``, wait until it ends."""
    kfp = Kfp(cluster.kfp)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / f"roomseg-{config.profile}.yaml"
        compiler.Compiler().compile(build_pipeline(config, cluster, store, tracking_uri, run_name), str(package))
        run_id = kfp.start(package, run_name)
    typer.echo(f"started run {run_id} ({run_name}) on {cluster.kfp.host or cluster.kfp.kubeconfig}")
    if told := doubt(cluster, tracking_uri):
        typer.echo(f"warning: {told}", err=True)
    if follow:
        watch(kfp, run_id, typer.echo)
        typer.echo(f"run {run_id} succeeded")


def check_submission(cluster: ClusterConfig, store: str, tracking_uri: str, allow_tags: bool) -> None:
    """What can be known to go wrong before anything is sent; raises ``UsageError``."""
    if not cluster.kfp.host and not cluster.kfp.kubeconfig:
        raise UsageError("--submit needs --host URL (or KFP_HOST, or --kubeconfig FILE): the address of the KFP API")
    if "://" not in store:
        raise UsageError(f"--submit with --store {store}: the cluster cannot see this folder; give s3://BUCKET/PREFIX")
    check_tracking_uri(tracking_uri)
    if cluster.images.tags() and not allow_tags:
        raise UsageError(
            f"image {cluster.images.tags()[0]} is a tag, whose content may change: give NAME@sha256:... by "
            "--render-image and --train-image or in the cluster's file, or say --allow-tags"
        )


def check_splits(config: PipelineConfig) -> None:
    """Raises ``UsageError`` where a stage would find no rooms, hours after the start."""
    empty = [split for split, rooms in config.render.rooms.items() if not rooms]
    if empty:
        raise UsageError(
            f"render.{empty[0]}_rooms is 0; expected 1 at least: the pipeline trains, validates and tests "
            "(`roomseg render`, `teacher` and so on run a stage alone)"
        )


# The command line

Local = Annotated[bool, typer.Option("--local", help="Run the whole pipeline on this machine.")]
Compile = Annotated[
    Path | None, typer.Option("--compile", metavar="FILE", help="Write the KFP package, such as pipeline.yaml.")
]
Submit = Annotated[bool, typer.Option("--submit", help="Start a run on a KFP cluster (needs --host).")]
Plan = Annotated[
    bool, typer.Option("--plan", help="Only say what a run would take: hours, storage, requests; what is known.")
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster", envvar="ROOMSEG_CLUSTER", help="Server, images and pods. Default: ~/.config/roomseg.toml."
    ),
]
Host = Annotated[str | None, typer.Option(envvar="KFP_HOST", help="URL of the KFP API, with --submit.")]
Kubeconfig = Annotated[
    str | None, typer.Option(envvar="KUBECONFIG", help="Instead of --host: reach KFP through the cluster's API.")
]
KubeContext = Annotated[str | None, typer.Option(help="Context in the kubeconfig.")]
Namespace = Annotated[str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the run.")]
Token = Annotated[str | None, typer.Option(envvar="KFP_TOKEN", help="Bearer token of the KFP API.")]
Experiment = Annotated[
    str | None, typer.Option(envvar="KFP_EXPERIMENT", help="KFP experiment of the run. Default: roomseg.")
]
ServiceAccount = Annotated[str | None, typer.Option(envvar="KFP_SERVICE_ACCOUNT", help="Service account of the pods.")]
RunName = Annotated[str | None, typer.Option(envvar="KFP_RUN_NAME", help="Name of the run. Default: profile and time.")]
RenderImage = Annotated[str | None, typer.Option(help="Image of render, as NAME@sha256:...")]
TrainImage = Annotated[str | None, typer.Option(help="Image of the other stages, as NAME@sha256:...")]
AllowTags = Annotated[bool, typer.Option("--allow-tags", help="Take images by a tag, which may change.")]
Watch = Annotated[bool, typer.Option("--watch", help="With --submit: follow the run, and end with its status.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --submit: only print what would be sent.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show all that KFP prints (it goes to a log anyway).")]


def main(
    ctx: typer.Context,
    local: Local = False,
    compile_: Compile = None,
    submit_: Submit = False,
    plan: Plan = False,
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
    cluster_file: ClusterFile = None,
    host: Host = None,
    kubeconfig: Kubeconfig = None,
    kube_context: KubeContext = None,
    namespace: Namespace = None,
    token: Token = None,
    experiment: Experiment = None,
    service_account: ServiceAccount = None,
    render_image: RenderImage = None,
    train_image: TrainImage = None,
    allow_tags: AllowTags = False,
    run_name: RunName = None,
    follow: Watch = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """Render rooms, train a 2D teacher and a 3D student, distill, evaluate, register.

    Give one of --local, --compile FILE, --submit and --plan. The same command again continues where it
    was: what is finished is not run again.
    """
    if sum([local, compile_ is not None, submit_, plan]) != 1:
        raise UsageError("give one of --local, --compile FILE, --submit and --plan (see --help)")
    for option, given in {"--watch": follow, "--dry-run": dry_run}.items():
        if given and not submit_:
            raise UsageError(f"{option} is for --submit; leave it out, or give --submit")
    split_store_url(store)  # so that what each stage would refuse is refused before anything is sent
    config = override(profile_of(profile), settings or [])
    check_backbone(config.teacher.backbone)
    check_splits(config)
    if local:
        return run_local(config, store, tracking_uri, verbose)
    if plan:
        return typer.echo(describe_plan(config, read_cluster(cluster_file)))
    if was_given(ctx, "kubeconfig"):
        if was_given(ctx, "host"):
            raise UsageError("--host and --kubeconfig are two ways to one server: give one of them")
        host = ""  # the flag wins over KFP_HOST and the cluster's file
    kfp = {
        "host": host,
        "kubeconfig": kubeconfig,
        "kube_context": kube_context,
        "namespace": namespace,
        "token": token,
        "experiment": experiment,
        "run_name": run_name,
        "service_account": service_account,
    }
    cluster = read_cluster(cluster_file).changed({"kfp": kfp, "images": {"render": render_image, "train": train_image}})
    if compile_ is not None:
        compile_to(compile_, config, cluster, store, tracking_uri)
        return typer.echo(f"wrote {compile_}")
    check_submission(cluster, store, tracking_uri, allow_tags)
    for text in hindrances(config, cluster):
        typer.echo(f"warning: {text}", err=True)
    run_name = cluster.kfp.run_name or f"{config.profile}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if dry_run:
        return typer.echo(describe_submission(config, cluster, store, tracking_uri, run_name))
    return submit(config, cluster, store, tracking_uri, run_name, follow)


if __name__ == "__main__":
    run_command_line(main)
