"""The short form of `make chaos`: a few kills, and nothing is lost or there twice."""

from tests.runner.chaos import KINDS, chaos


def test_kills_at_random_lose_nothing(tmp_path):
    outcome = chaos(
        tmp_path,
        kills=len(KINDS),
        shards=150,
        row_s=0.3,
        seed=3,
        between_s=(0.5, 3.0),
        each_once=True,
    )
    assert outcome.faults == []
    assert set(outcome.kills) == set(KINDS)
    assert outcome.rows_in == outcome.rows_out + outcome.dead_letters
    assert outcome.begun_after_commit == 0
