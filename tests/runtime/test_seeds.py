from cvgssl.runtime.seeds import seed_for


def test_values_never_change() -> None:
    # half of the first 16 hexadecimal digits that `printf 0/order/1/5 | sha256sum` prints
    assert seed_for(0) == 3456079177858693020
    assert seed_for(0, "order", 1, 5) == 6735933888325350853
    assert seed_for(7, "augment", 2) == 8359174286427180339


def test_streams_differ_in_every_part_of_their_name_and_fit_a_generator() -> None:
    seeds = {
        seed_for(seed, name, run, epoch)
        for seed in range(5)
        for name in ("order", "augment")
        for run in range(5)
        for epoch in range(20)
    }
    assert len(seeds) == 5 * 2 * 5 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # the whole range is used
