"""Prometheus: what the service has done since its start, counted, in the text format that Prometheus scrapes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from vlmrl.rewards.calls import Call
from vlmrl.verdict import Verdict

_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Counters:
    """Counters since the start."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.seconds: Counter[float] = Counter()
        self.total_seconds = 0.0

    def observe(self, calls: Sequence[Call], verdicts: Sequence[Sequence[Verdict]], seconds: float) -> None:
        """Counts one request that was judged."""
        self.verdicts.update((c.verifier, v.status) for c, vs in zip(calls, verdicts, strict=True) for v in vs)
        self.seconds[[*_BOUNDS, float("inf")][bisect_left(_BOUNDS, seconds)]] += 1
        self.total_seconds += seconds

    def lines(self, **gauges: int) -> Iterator[str]:
        """Prometheus text format 0.0.4; `gauges` by name."""
        yield "# HELP vlmrl_requests_total Requests answered, by path and HTTP status."
        yield "# TYPE vlmrl_requests_total counter"
        for (path, code), count in sorted(self.requests.items()):
            yield f'vlmrl_requests_total{{path="{path}",code="{code}"}} {count}'
        yield "# HELP vlmrl_verdicts_total Responses judged; bad_target, error and timeout are unscored."
        yield "# TYPE vlmrl_verdicts_total counter"
        for (verifier, status), count in sorted(self.verdicts.items()):
            yield f'vlmrl_verdicts_total{{verifier="{verifier}",status="{status}"}} {count}'
        yield "# HELP vlmrl_judge_seconds From the arrival of a request to its verdicts."
        yield "# TYPE vlmrl_judge_seconds histogram"
        passed = 0
        for bound in (*_BOUNDS, float("inf")):
            passed += self.seconds[bound]
            yield f'vlmrl_judge_seconds_bucket{{le="{"+Inf" if bound == float("inf") else bound}"}} {passed}'
        yield f"vlmrl_judge_seconds_sum {self.total_seconds}"
        yield f"vlmrl_judge_seconds_count {passed}"
        for name, value in gauges.items():
            yield f"# TYPE vlmrl_{name} gauge"
            yield f"vlmrl_{name} {value}"
