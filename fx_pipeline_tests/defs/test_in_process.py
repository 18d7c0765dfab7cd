"""Runs in this process beside others: who is waited for is said, and an interrupted run is marked."""

from collections.abc import Iterator

import dagster as dg
import pytest

from fx_pipeline.defs.in_process import InProcess, holders_of, pools_of

OVERRIDES = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}


@dg.op(pool="duck")
def quack() -> str:
    """Says something."""
    return "quack"


@dg.job
def duck() -> None:
    """Needs the pool."""
    quack()


@dg.op(pool="duck")
def hang(context: dg.OpExecutionContext) -> None:
    """Is interrupted."""
    raise KeyboardInterrupt


@dg.job
def hanging() -> None:
    """Needs the pool, and is interrupted in it."""
    hang()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(overrides=OVERRIDES) as instance:
        yield instance


def hold(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """Let a run that has begun hold the pool."""
    run = instance.create_run_for_job(duck, tags={"dagster/partition": "2024-01|EUR_USD"})
    run = instance.create_run_for_job(duck, status=dg.DagsterRunStatus.STARTED, tags=run.tags)
    instance.event_log_storage.initialize_concurrency_limit_to_default("duck")
    assert instance.event_log_storage.claim_concurrency_slot("duck", run.run_id, "quack").is_claimed
    return run


def test_a_free_pool_is_not_waited_for(instance: dg.DagsterInstance) -> None:
    said: list[str] = []
    assert pools_of(duck) == {"duck"}
    assert InProcess(instance, said.append).launch(duck, None, {}).output_for_node("quack") == "quack"
    assert said == [] and holders_of(instance, {"duck"}) == {}


def test_who_holds_a_pool_is_said_once_and_waited_for(instance: dg.DagsterInstance) -> None:
    holder, said, waited = hold(instance), list[str](), list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            instance.event_log_storage.free_concurrency_slots_for_run(holder.run_id)

    assert InProcess(instance, said.append, sleep).launch(duck, None, {}).success
    assert len(waited) == 3 and len(said) == 1
    assert f"the pool duck: run {holder.run_id[:8]} (duck of 2024-01|EUR_USD, STARTED) holds it" in said[0]


def test_the_wait_can_be_interrupted_and_leaves_no_run(instance: dg.DagsterInstance) -> None:
    hold(instance)
    before = len(instance.get_runs())

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    runs = InProcess(instance, lambda line: None, interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.launch(duck, None, {})
    runs.cancel()
    assert len(instance.get_runs()) == before


def test_an_interrupted_run_does_not_look_as_if_it_went_on(instance: dg.DagsterInstance) -> None:
    runs = InProcess(instance, lambda line: None)
    with pytest.raises(BaseException):  # noqa: B017
        runs.launch(hanging, None, {})
    runs.cancel()
    (run,) = instance.get_runs()
    assert run.is_finished and holders_of(instance, {"duck"}) == {}


def test_a_run_that_was_cut_off_is_canceled(instance: dg.DagsterInstance) -> None:
    holder = hold(instance)
    runs = InProcess(instance, lambda line: None)
    runs._run_id = holder.run_id
    runs.cancel()
    run = instance.get_run_by_id(holder.run_id)
    assert run is not None and run.status == dg.DagsterRunStatus.CANCELED
    assert holders_of(instance, {"duck"}) == {}
