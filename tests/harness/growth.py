"""How the time for some work grows with its size: what a stranger can make large must not cost its square."""

import time

TIMES = 8  # how much larger the larger one is
ROUNDS = 3


def assert_linear(work, size):
    """work(n) takes CPU about as n, and not as its square. `size`: the smaller n, for which it takes milliseconds."""
    small, large = _least(work, size), _least(work, size * TIMES)
    told = f"{small * 1000:.1f} ms for {size}, {large * 1000:.1f} ms for {TIMES} times that"
    assert large < 0.02 + 3 * TIMES * small, told


def _least(work, size):
    took = []
    for _round in range(ROUNDS):
        begun = time.process_time()
        work(size)
        took.append(time.process_time() - begun)
        if took[-1] > 5:
            break
    return min(took)
