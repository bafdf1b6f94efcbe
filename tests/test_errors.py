import pytest
import torch

from roomseg.errors import UserError, one_line, out_of_memory, told_when_memory_runs_out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: as it is", "plain: as it is"),
        ("two\nlines\x1b[31m and colours", "two lines [31m and colours"),
        ("http://ann:hush@host/x and s3://a:b@c", "http://host/x and s3://c"),
        ("postgresql+psycopg2://ann:hu/sh@1@db:5432/runs refuses", "postgresql+psycopg2://db:5432/runs refuses"),
        ("http://host:5000/@x has a port", "http://host:5000/@x has a port"),
        ("mysql://db/runs?user=ann&password=hu/sh&x=1 is away", "mysql://db/runs?user=ann&password=...&x=1 is away"),
        ("https://b/k?X-Amz-Security-Token=hush&n=2", "https://b/k?X-Amz-Security-Token=...&n=2"),
        ("mail ann@host stays, http://host/@x too", "mail ann@host stays, http://host/@x too"),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text) == expected
    assert str(UserError(text)) == expected


def test_a_long_text_keeps_its_start_and_its_end() -> None:
    line = one_line("what it is about " + "x" * 100_000 + " what to do")
    assert len(line) < 2000
    assert line.startswith("what it is about")
    assert line.endswith("what to do")


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (MemoryError(), "CPU"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate"), "CPU"),
        (RuntimeError("std::bad_alloc"), "CPU"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "GPU"),
        (torch.AcceleratorError("CUDA error: out of memory"), "GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "GPU"),
    ],
)
def test_memory_that_runs_out_is_told_with_the_remedy(error: Exception, where: str) -> None:
    with (
        pytest.raises(UserError, match=f"out of {where} memory; take a machine with more"),
        told_when_memory_runs_out(out_of_memory),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), KeyError("memory"), UserError("in one line")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, told_when_memory_runs_out(out_of_memory):
        raise error
    assert caught.value is error
