#!/usr/bin/env python
"""The pipeline: its arrows, and the three ways to use it: run it here, compile it, or send it to a cluster."""

import json
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from kfp import compiler, dsl

from components.distill import distill as distill_stage
from components.evaluate import evaluate as evaluate_stage
from components.pretrain import pretrain as pretrain_stage
from components.register import register as register_stage
from components.render import render as render_stage
from components.teacher import teacher as teacher_stage
from roomseg import __version__
from roomseg.config import SECTIONS, PipelineConfig, override
from roomseg.errors import UsageError, UserError
from roomseg.profiles import profile as profile_of

RENDER_IMAGE = f"ghcr.io/roomseg/render:{__version__}"
TRAIN_IMAGE = f"ghcr.io/roomseg/train:{__version__}"


# The DAG


def build_pipeline(config: PipelineConfig, store: str, tracking_uri: str, run_id: str) -> Callable[..., object]:
    """The KFP pipeline with this configuration as its parameters' defaults; each section is a JSON string."""
    render_op = _component(render_stage, RENDER_IMAGE)
    teacher_op = _component(teacher_stage, TRAIN_IMAGE)
    pretrain_op = _component(pretrain_stage, TRAIN_IMAGE)
    distill_op = _component(distill_stage, TRAIN_IMAGE)
    evaluate_op = _component(evaluate_stage, TRAIN_IMAGE)
    register_op = _component(register_stage, TRAIN_IMAGE)
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
        rooms = render_op(config=render, **where).outputs["rooms"]
        segmenter = _on_gpu(teacher_op(config=teacher, rooms=rooms, **where)).outputs["segmenter"]
        pretrained = _on_gpu(pretrain_op(config=pretrain, rooms=rooms, **where)).outputs["pretrained"]
        distilled = _on_gpu(
            distill_op(config=distill, rooms=rooms, teacher=segmenter, pretrained=pretrained, **where)
        ).outputs["distilled"]
        models = {"teacher": segmenter, "pretrained": pretrained, "distilled": distilled}
        for name in config.evaluate.baselines:
            section = config.pretrain.for_baseline(name).model_dump_json()
            task = _on_gpu(pretrain_op(config=section, rooms=rooms, **where)).set_display_name(f"pretrain-{name}")
            models[f"baseline_{name}"] = task.outputs["pretrained"]
        evaluation = _on_gpu(evaluate_op(config=evaluate, rooms=rooms, **models, **where)).outputs["evaluation"]
        register_op(config=register, distilled=distilled, evaluation=evaluation, **where)

    return roomseg


def _component(stage: Callable, image: str) -> Callable[..., dsl.PipelineTask]:
    component = dsl.component(stage, base_image=image, install_kfp_package=False)
    # KFP's own cache is off: run_stage knows what is complete (docs/decisions.md).
    return lambda **ports: component(**ports).set_caching_options(False)


def _on_gpu(task: dsl.PipelineTask) -> dsl.PipelineTask:
    return task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)


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
    pipeline = build_pipeline(config, store, tracking_uri, config.run_id)
    with StageOutput(root / f"{config.run_id}.log", verbose) as output:
        try:
            pipeline()
        except RuntimeError:
            raise UserError(output.failure()) from None
    print_summary(config, store, tracking_uri)


def compile_to(package: Path, config: PipelineConfig, store: str, tracking_uri: str) -> None:
    if package.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--compile {package}: expected a file that ends in .yaml")
    pipeline = build_pipeline(config, store, tracking_uri, config.profile)
    try:
        compiler.Compiler().compile(pipeline, str(package))
    except OSError as error:
        raise UserError(f"--compile {package}: {error.strerror}") from None


@dataclass(frozen=True)
class SubmitTarget:
    namespace: str | None
    token: str | None
    experiment: str
    run_name: str | None


def submit(config: PipelineConfig, store: str, tracking_uri: str, host: str, target: SubmitTarget) -> str:
    """Upload the pipeline and start a run; returns the run's id."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="kfp")
    import kfp
    from kfp_server_api.exceptions import ApiException

    if "://" not in store:
        raise UsageError(f"--submit with --store {store}: the cluster cannot see this folder; give s3://BUCKET/PREFIX")
    check_server(host, target.token)
    run_name = target.run_name or f"{config.profile}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / f"roomseg-{config.profile}.yaml"
        compiler.Compiler().compile(build_pipeline(config, store, tracking_uri, run_name), str(package))
        try:
            client = kfp.Client(host=host, namespace=target.namespace or "kubeflow", existing_token=target.token)
            run = client.create_run_from_pipeline_package(
                str(package),
                run_name=run_name,
                experiment_name=target.experiment,
                namespace=target.namespace,
            )
        except ApiException as error:
            raise UserError(f"--host {host}: {_refusal(error.status, error.reason)}") from None
    return run.run_id


def check_server(host: str, token: str | None) -> None:
    """A look before KFP's client, which would try for half a minute; raises ``UserError``."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(f"{host.rstrip('/')}/apis/v2beta1/healthz", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        raise UserError(f"--host {host}: {_refusal(error.code, error.reason)}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"--host {host}: no KFP server answers there ({reason})") from None
    except ValueError:
        raise UserError(f"--host {host}: what answers there is no KFP API server; give the URL of its API") from None


def _refusal(status: int, reason: str) -> str:
    if status in (401, 403):
        return f"the server refused us ({status}); give a valid token by --token or KFP_TOKEN"
    return f"the server answered {status} {reason}; is this the address of a KFP API server?"


# The command line


def main(
    local: Annotated[bool, typer.Option("--local", help="Run the whole pipeline on this machine.")] = False,
    compile_: Annotated[
        Path | None, typer.Option("--compile", metavar="FILE", help="Write the KFP package, such as pipeline.yaml.")
    ] = None,
    submit_: Annotated[bool, typer.Option("--submit", help="Start a run on a KFP cluster (needs --host).")] = False,
    profile: Annotated[
        str, typer.Option(help="demo: minutes on two cores. paper: every number of the paper.")
    ] = "demo",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="Change a value, such as teacher.epochs=3. Repeatable."
        ),
    ] = None,
    store: Annotated[str, typer.Option(help="Where artifacts go: a folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    tracking_uri: Annotated[
        str,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server. Default: a database in the store's folder."),
    ] = "",
    host: Annotated[str, typer.Option(envvar="KFP_HOST", help="URL of the KFP API, with --submit.")] = "",
    namespace: Annotated[str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the run.")] = None,
    token: Annotated[str | None, typer.Option(envvar="KFP_TOKEN", help="Bearer token of the KFP API.")] = None,
    experiment: Annotated[str, typer.Option(help="KFP experiment of the run.")] = "roomseg",
    run_name: Annotated[str | None, typer.Option(help="Name of the run. Default: profile and time.")] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show all that KFP prints (it goes to a log anyway).")
    ] = False,
) -> None:
    """Render rooms, train a 2D teacher and a 3D student, distill, evaluate, register.

    Give one of --local, --compile FILE and --submit. The same command again continues where it was: what is finished is
    not run again.
    """
    if sum([local, compile_ is not None, submit_]) != 1:
        raise UsageError("give one of --local, --compile FILE and --submit (see --help)")
    config = override(profile_of(profile), settings or [])
    if local:
        run_local(config, store, tracking_uri, verbose)
    elif compile_ is not None:
        compile_to(compile_, config, store, tracking_uri)
        typer.echo(f"wrote {compile_}")
    elif not host:
        raise UsageError("--submit needs --host URL (or KFP_HOST): the address of the KFP API")
    else:
        target = SubmitTarget(namespace, token, experiment, run_name)
        typer.echo(f"started run {submit(config, store, tracking_uri, host, target)} on {host}")


if __name__ == "__main__":
    from roomseg.cli import run_command_line

    run_command_line(main)
