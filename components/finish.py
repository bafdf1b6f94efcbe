"""finish: whatever happened, what a run came to, as Markdown in the UI and ``runs/RUN/summary.json`` in the store."""

from kfp.dsl import Markdown, Output, PipelineTaskFinalStatus


def finish(store: str, run_id: str, status: PipelineTaskFinalStatus, summary: Output[Markdown]) -> None:
    from roomseg.runtime.component import finish_run

    finish_run(store, run_id, status.state, status.error_message or "", summary.path)
