from bench._measure import Minute, minutes, p99, processor_times, stolen_ratio


def test_answers_belong_to_the_minute_in_which_they_came() -> None:
    noon = 1_763_640_000.0
    found = minutes([(noon + 60.0, 9.0), (noon, 1.0), (noon + 59.9, 3.0), (noon + 30.0, 2.0)])
    assert found == [Minute("12:00", 3, 2.0, 3.0, 3.0), Minute("12:01", 1, 9.0, 9.0, 9.0)]


def test_one_in_a_hundred_is_above() -> None:
    values = [float(each) for each in range(1, 201)]
    assert p99(values[::-1]) == 199.0
    assert p99([4.0]) == 4.0


def test_what_a_host_takes_away_is_a_part_of_all_its_time() -> None:
    before = [100, 0, 50, 800, 10, 0, 5, 35]
    assert stolen_ratio(before, [each + 10 for each in before]) == 10 / 80
    assert stolen_ratio(before, [*before[:3], 900, *before[4:]]) == 0
    now = processor_times()
    assert len(now) == len(before)
    assert all(late >= early for early, late in zip(now, processor_times(), strict=True))
