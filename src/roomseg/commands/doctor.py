"""``roomseg doctor``: is everything there that a pipeline needs? One line a check, with the remedy."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from roomseg.cluster import TRAINING, read_cluster

STYLE = {"OK": "green", "WARN": "yellow", "FAIL": "red"}


def doctor(
    store: Annotated[str, typer.Option(help="The store to try: a folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    tracking_uri: Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="The MLflow server to try.")] = "",
    cluster_file: Annotated[
        Path | None,
        typer.Option("--cluster", envvar="ROOMSEG_CLUSTER", help="Server and images. Default: ~/.config/roomseg.toml."),
    ] = None,
    host: Annotated[str | None, typer.Option(envvar="KFP_HOST", help="URL of the KFP API.")] = None,
    namespace: Annotated[str | None, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the runs.")] = None,
    token: Annotated[str | None, typer.Option(envvar="KFP_TOKEN", help="Bearer token of the KFP API.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(envvar="KUBECONFIG", help="To look into the cluster.")] = None,
    kube_context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
    service_account: Annotated[
        str | None, typer.Option(envvar="KFP_SERVICE_ACCOUNT", help="Service account of the pods, whose rights matter.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of {state, check, found, remedy}.")] = False,
) -> None:
    """Try what a pipeline needs: store, MLflow, KFP, images, GPU, memory, disk. Ends with 1 if something fails."""
    from roomseg.runtime.doctor import kubeflow, machine, registry, services
    from roomseg.runtime.doctor.lines import run_checks

    said = {
        "host": host,
        "namespace": namespace,
        "token": token,
        "kubeconfig": kubeconfig or None,
        "kube_context": kube_context,
        "service_account": service_account,
    }
    cluster = read_cluster(cluster_file).changed({"kfp": said})
    lines = run_checks(
        {
            "store": lambda: services.store(store),
            "MLflow": lambda: services.tracking(tracking_uri, store),
            "KFP": lambda: kubeflow.kfp(cluster.kfp),
            "cluster": lambda: kubeflow.cluster(cluster.kfp, any(cluster.pod(task).nodes > 1 for task in TRAINING)),
            "image": lambda: registry.images(cluster.images),
            "GPU": machine.gpu,
            "/dev/shm": machine.shared_memory,
            "disk": lambda: machine.disk(store),
        }
    )
    found = []
    for line in lines:
        found.append(line)
        if not as_json:
            remedy = f" -> {line.remedy}" if line.remedy else ""
            typer.echo(f"{typer.style(f'{line.state:<5}', STYLE[line.state])}{line.check:<11}{line.found}{remedy}")
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in found], indent=1))
    if any(line.state == "FAIL" for line in found):
        raise SystemExit(1)
